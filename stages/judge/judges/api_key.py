"""The key of a judge's server, in an environment variable: in no file, message or identity."""

from __future__ import annotations

import os
import re

from stages.common.errors import ConfigError


def api_key(variable: str) -> str | None:
    """The key, if there is one. What is wrong with it is not shown: it may differ from a secret in a line break.

    Raises:
        ConfigError: it has characters that a header cannot hold.
    """
    key = os.environ.get(variable, "").strip() or None
    if key is not None and not re.fullmatch(r"[!-~]+", key):
        raise ConfigError(
            f"{variable}: expected letters, digits and signs of ASCII without spaces or line breaks between them; "
            f"found other characters among its {len(key)}",
            f"export {variable}=...",
        )
    return key
