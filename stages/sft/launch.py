"""Several processes of one program on this machine, under torchrun's agent: all live, or all end."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from stages.common import environment
from stages.common.errors import PipelineError, TemporaryFailure
from stages.common.signals import Interrupted
from stages.sft.team import RENDEZVOUS_VARIABLE

#: How long processes that are told to end may save their work, in seconds.
GRACE_SECONDS = 60.0


def run(module: str, processes: int) -> None:
    """Run ``python -m module`` in so many processes, and wait for them.

    They find one another by a file and talk over the loopback interface alone. With GPUs each sees one of those that
    this process may use.

    Raises:
        Interrupted: SIGINT or SIGTERM has come, and the processes have ended.
        TemporaryFailure: a process was killed, or what it was stopped by may not come again.
        PipelineError: a process has failed, with that one's exit code; it has said why.
    """
    # The agent's own report of a failure repeats in forty lines what the process has said in two.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    # As many as fit beside each other, unless the user says otherwise: the sums of a product depend on their number.
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // processes, 1)))
    with tempfile.TemporaryDirectory(prefix="instruct-pipeline-") as folder:
        os.environ[RENDEZVOUS_VARIABLE] = str(Path(folder) / "processes")
        settings = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=module,
            rdzv_backend="c10d",
            rdzv_configs={"store_type": "file"},
            rdzv_endpoint=str(Path(folder) / "agents"),
            max_restarts=0,
            local_addr="localhost",
            virtual_local_rank=True,
            shutdown_timeout=int(environment.seconds("PIPELINE_GRACE_SECONDS", GRACE_SECONDS)),
        )
        try:
            elastic_launch(settings, sys.executable)("-m", module)
        except SignalException as stopped:
            raise Interrupted(stopped.sigval.name) from None
        except ChildFailedError as failed:
            rank, failure = failed.get_first_failure()
            raise _failure(rank, processes, failure.exitcode) from None


def _failure(rank: int, processes: int, code: int) -> PipelineError:
    who = f"process {rank} of {processes}"
    if code < 0:
        return TemporaryFailure(
            f"{who} was ended by {signal.Signals(-code).name}, and the others with it", "run the same command again"
        )
    kinds = {kind.exit_code: kind for kind in PipelineError.__subclasses__()}
    return kinds.get(code, PipelineError)(f"{who} has ended with exit code {code}, and the others with it")
