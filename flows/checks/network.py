"""What the environment says of proxies, and what the stages of params.yaml need: judge, hub, dataset, memory, disk."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from stages.common import paths
from stages.common.errors import ConfigError
from stages.params import reading, whole
from stages.running.checks.asking import CHECKED, ask, in_order
from stages.running.checks.row import Row, ok, warning
from stages.running.proxies import with_socks, without_user

#: The longest time for the checks of the stages, in seconds: longer than a run waits for them.
_SECONDS = 30.0
_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


def proxies() -> Iterator[Row]:
    """The proxies that the environment names."""
    named = {name: value for name, value in with_socks().items() if name.lower() in _VARIABLES and value}
    for name, value in named.items():
        shown = without_user(value)
        if value.lower().startswith("socks") and importlib.util.find_spec("socksio") is None:
            found = (
                f"{name} names a SOCKS proxy ({shown}), for which packages are missing: downloads do not go through it"
            )
            yield warning("proxies", found, f"unset {name}, name an http proxy, or: pip install PySocks socksio")
        else:
            yield ok("proxies", f"{name}: {shown}; never asked for this machine's own servers")


def stages(root: Path) -> Iterator[Row]:
    """What the stages need, as before a run."""
    try:
        whole.load(root / paths.PARAMS)
    except ConfigError:
        yield warning("stages", "not looked at, since params.yaml is wrong")
        return
    rows = ask(root, reading.read_values(root / paths.PARAMS), CHECKED, seconds=_SECONDS)
    yield from in_order(rows)
