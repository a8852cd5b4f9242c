"""Tells that a model's name has come to mean another model since the last judging on this machine."""

from __future__ import annotations

import contextlib
import json

from stages.common.files import atomic_file
from stages.common.results.judge import JUDGE_CACHE
from stages.params.judge import Judge
from stages.running import bookkeeping
from stages.running.console import say

#: The digest with which each model was last used, by server and name. No result depends on it.
DIGESTS = JUDGE_CACHE / "digests.json"


def tell_of_a_moved_tag(url: str, settings: Judge, digest: str) -> None:
    """Say so where a server has another model of this name than before, and keep the digest for the next time.

    Args:
        url: base URL of the server.
        settings: settings; ``model`` and ``digest`` are used. A model that is pinned has been checked already.
        digest: the model's digest, as /api/tags says it.
    """
    known: dict[str, str] = {}
    with contextlib.suppress(FileNotFoundError, ValueError):  # a broken one is written again
        read = json.loads(DIGESTS.read_text(encoding="utf-8"))
        known = {str(name): str(value) for name, value in read.items()} if isinstance(read, dict) else {}
    name = f"{url} {settings.model}"
    before = known.get(name)
    if before == digest:
        return
    if before is not None and settings.digest is None:
        say(
            f"{settings.model} is another model than when it last judged here: its digest {before[:12]} is now "
            f"{digest[:12]}; scores of the two are not comparable, and judge.digest pins one of them"
        )
    with bookkeeping.optional(DIGESTS), atomic_file(DIGESTS) as stream:
        json.dump(known | {name: digest}, stream, indent=2, sort_keys=True)
        stream.write("\n")
