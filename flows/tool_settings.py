"""Settings of Prefect, DVC and MLflow, as environment variables: state inside the project, and no telemetry.

A variable that is already set keeps its value. `python -m flows COMMAND ...` runs any command with these settings.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from stages.running.proxies import set_aside_socks, spare_loopback

_DEFAULTS = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # The default, 20 seconds, is too short for the first start on a small, busy machine.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # With the default, memory, the slot of a killed holder stays taken for ever after a restart of the server.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # How often, in seconds, a flow says that it is alive; `flows.automations` marks those that no longer do.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
}


def set_defaults() -> None:
    """Set the variables that are unset. Must be called before Prefect or MLflow is imported: they read them once."""
    os.environ.setdefault("PREFECT_HOME", str(Path.cwd() / ".prefect"))
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    # Of a folder that cannot be written, which flows.folder tells.
    warnings.filterwarnings("ignore", message="Failed to create the Prefect home directory")
    spare_loopback()
    set_aside_socks()


def search_path() -> str:
    """PATH with this interpreter's folder first, so that `python` and `prefect` are those of this environment."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
