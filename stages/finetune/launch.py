"""Several processes of one program on this machine, under torchrun's agent: if one ends, all end."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from stages.common import cores
from stages.common.errors import ConfigError, PipelineError, TemporaryFailure
from stages.finetune.team import LAUNCHER_VARIABLE, RENDEZVOUS_VARIABLE
from stages.running import environment, temporary
from stages.running.signals import Interrupted, raise_at_once

#: How long processes that are told to end may save their work, in seconds: less than whoever stops the stage waits.
GRACE_SECONDS = 60.0
_SOONER = 5.0
#: The file beside that of the rendezvous which names what `hand_over` was given.
_HANDED_OVER = "finished"


def run(module: str, processes: int, *, gpus: bool) -> Path | None:
    """Run ``python -m module`` in several processes, and wait for them.

    They find one another by a file and talk over the loopback interface alone. With GPUs each sees one of those that
    this process may use. If this process dies, they are told to end.

    Args:
        module: name of the program's module.
        processes: the world size.
        gpus: whether each process has a GPU of its own.

    Returns:
        The folder that one of them has given to `hand_over`; None where none has.

    Raises:
        Interrupted: SIGINT or SIGTERM has come, and the processes have ended.
        TemporaryFailure: a process was killed, or what it was stopped by may not come again.
        PipelineError: a process has failed, with that one's exit code; it has said why.
    """
    # The agent's own report of a failure repeats in forty lines what the process has said in two.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    # As many threads as there are cores for, unless the user says otherwise: the sums of a product depend on it.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(cores.available() // processes, 1)))
    killed_before = _killed_for_memory()
    with temporary.folder() as folder:
        os.environ[RENDEZVOUS_VARIABLE] = str(folder / "processes")
        os.environ[LAUNCHER_VARIABLE] = str(os.getpid())
        grace = environment.seconds("PIPELINE_GRACE_SECONDS", GRACE_SECONDS)
        settings = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=module,
            rdzv_backend="c10d",
            rdzv_configs={"store_type": "file"},
            rdzv_endpoint=str(folder / "agents"),
            max_restarts=0,
            local_addr="localhost",
            virtual_local_rank=gpus,
            shutdown_timeout=max(int(grace - _SOONER), 1),
        )
        try:
            elastic_launch(settings, sys.executable)("-m", module)
        except SignalException as stopped:
            raise Interrupted(stopped.sigval.name) from None
        except ChildFailedError as failed:
            codes = {rank: failure.exitcode for rank, failure in failed.failures.items()}
            raise _failure(codes, processes, memory_short=_killed_for_memory() > killed_before) from None
        finally:
            raise_at_once()  # in place of the agent's handlers
        handed = folder / _HANDED_OVER
        return Path(handed.read_text(encoding="utf-8")) if handed.exists() else None


def hand_over(folder: Path) -> bool:
    """Leave a folder to the process that has started this one by `run`; False where another program has started it."""
    rendezvous = os.environ.get(RENDEZVOUS_VARIABLE)
    if rendezvous is None:
        return False
    Path(rendezvous).with_name(_HANDED_OVER).write_text(str(folder), encoding="utf-8")
    return True


def _killed_for_memory() -> int:
    """How many processes Linux has killed since it started because memory was short; 0 where nothing tells."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _failure(codes: dict[int, int], processes: int, *, memory_short: bool = False) -> PipelineError:
    """The error that follows from the exit codes of the processes, given by rank.

    When one fails the others end with 75, since it has left them, or by the agent's SIGTERM. Where the kernel has
    killed one because memory was short, the same would happen again: that is for the user to fix.
    """
    own = {rank: code for rank, code in codes.items() if code > 0 and code != TemporaryFailure.exit_code}
    killed = {rank: code for rank, code in codes.items() if code < 0 and code != -signal.SIGTERM}
    rank, code = next(iter((own or killed or codes).items()))
    who = f"process {rank} of {processes}"
    if code == -signal.SIGKILL and memory_short:
        return ConfigError(
            f"{who} was killed by the kernel as memory was short, and the others ended with it",
            "lower finetune.devices, or set what the line on memory above proposes, in params.yaml; "
            "with the same recipe the run goes on from what was saved",
        )
    if code < 0:
        return TemporaryFailure(
            f"{who} was ended by {signal.Signals(-code).name}, and the others with it", "run the same command again"
        )
    error = PipelineError(f"{who} has ended with exit code {code}, and the others with it")
    error.exit_code = code
    return error
