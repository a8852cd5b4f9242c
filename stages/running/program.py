"""How a stage runs as a program.

A stage's ``__main__.py`` reads its section of params.yaml by `section` and ends in `run`, which turns

- SIGINT, SIGTERM and SIGHUP into an exception, and the end of the dvc that runs the stage into SIGTERM,
- a change of what the stage has read into a failure, so that DVC records nothing (`stages.running.held`),
- an error that the user can fix into one message and its exit code (`stages.common.errors`),
- the end, good or bad, into a note for the tracker.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from typing import NoReturn, TypeVar

from stages.common import paths
from stages.common.errors import ConfigError, PipelineError, TemporaryFailure
from stages.common.printable import printable
from stages.params import reading, whole
from stages.params.finetune import Finetune
from stages.params.section import Section
from stages.running import costs, experiments, held, machine, orphans, quick_end, run_cache, streams, writable
from stages.running.checks import preflight
from stages.running.console import say
from stages.running.environment import dvc_runs, worker
from stages.running.proxies import spare_loopback
from stages.running.restore import has_succeeded, restore
from stages.running.signals import Interrupted, ignore, raise_at_once
from stages.running.tracking import execution, tracker
from stages.running.tracking.store import StageEnd

S = TypeVar("S", bound=Section)

#: The exit code of this process's stage, once it has ended.
_codes: list[int] = []
#: The message that it ends with, if it fails.
_said: list[str] = []


def section(kind: type[S]) -> S:
    """A stage's section of params.yaml: ``section(Split)`` is the section ``split``.

    The whole file is checked first, so that a mistake in a later stage's section is told before any stage works. The
    stage itself depends on its own section's schema alone: a new option of the judge makes no training stale.

    Args:
        kind: class of the section.

    Raises:
        ConfigError: params.yaml is missing or not YAML, or holds unknown keys or wrong values; every problem is listed.
    """
    tree = reading.read_values(paths.PARAMS)
    params = whole.check(tree)
    held.values_read(tree)
    if kind is Finetune:
        for line in whole.advice(tree["download"], tree["finetune"]):
            say(f"warning: {line}")
    sections = (getattr(params, name) for name in whole.Params.model_fields)
    return next(found for found in sections if isinstance(found, kind))


def torch_settings(stage: str) -> dict[str, str]:
    """Environment variables that torch reads when it is loaded (measured in docs/decisions.md).

    Args:
        stage: the stage's name.
    """
    # Threads wait for one another in busy loops. With the default, a step takes many times as long where another
    # process wants the core too; with 1,000 they sleep between small operations, and a virtual machine wakes slowly.
    settings = {"GOMP_SPINCOUNT": "3000"}
    # torch makes the folder of compiled kernels when it is loaded. Nothing here compiles any: the folder for temporary
    # files, which is there, stands in for a new one in it.
    with contextlib.suppress(FileNotFoundError):  # no folder takes temporary files, which the stage tells
        settings["TORCHINDUCTOR_CACHE_DIR"] = tempfile.gettempdir()
    if stage == "finetune":
        # Large tensors come in pages of 2 MB, where the system gives these on request. Every step allocates gigabytes,
        # and the first touch of a page of 4 kB takes longer than filling it. Not in generation: there unused slots of
        # the KV cache would take memory too.
        settings["THP_MEM_ALLOC_ENABLE"] = "1"
    return settings


def run(stage: str, main: Callable[[], None]) -> NoReturn:
    """Run a stage's ``main`` and end the process with the exit code that `stages.common.errors` gives.

    Args:
        stage: the stage's name, put before every message.
        main: the stage.
    """
    streams.prepare()
    spare_loopback()
    for name, value in torch_settings(stage).items():  # before torch is loaded, which a stage's main does
        os.environ.setdefault(name, value)
    _refuse_arguments(stage)
    raise_at_once()
    how: StageEnd = "failed"
    taken = False
    try:
        if worker() is None and dvc_runs(stage):
            _leave_quickly(stage)
            execution.settle()
            orphans.end_with_dvc()
            experiments.join_project()
        writable.check(stage)
        if worker() is None:
            preflight.look_once(stage)
        held.hold(stage)
        taken = worker() is None and dvc_runs(stage) and run_cache.restored(stage)
        if not taken:
            main()
        held.check()
        how = "ran"
    except (PipelineError, OSError) as found:
        error = streams.as_ours(found)
        _end(stage, str(error), error.exit_code)
    except Interrupted as interruption:
        how = "cancelled"
        why = orphans.reason() or f"stopped by {interruption}"
        _end(stage, f"{why}; run the same command again", TemporaryFailure.exit_code)
    except MemoryError:
        message = "out of memory; end what else uses this machine's, and run the same command again"
        _end(stage, message, TemporaryFailure.exit_code)
    except Exception as unforeseen:
        streams.show(type(unforeseen), unforeseen, unforeseen.__traceback__)
        what = f"an error that nobody foresaw, whose traceback is above: {type(unforeseen).__name__}: {unforeseen}"
        _end(stage, str(PipelineError(what, "report it, with the whole output")), PipelineError.exit_code)
    finally:
        # A second signal ends the wait for the tracker only. In a process group, the process that started it reports.
        # A stage whose result was taken from the cache leaves no mark, as where DVC itself has taken it. The failure of
        # another program, such as a comparison that a stage starts, is none of the run's.
        if worker() is None and dvc_runs(stage) and not (taken and how == "ran"):
            with contextlib.suppress(Interrupted):
                if how == "ran":
                    costs.keep(stage, machine.since_start(), machine.peak_resident())
                tracker.stage_over(stage, how, _said[-1] if _said else "")
    _codes.append(0)
    sys.exit(0)


def _leave_quickly(stage: str) -> None:
    """End the process at once when everything else has been done for its end; after a success, compare once more.

    DVC hashes what the stage has read when the process is gone. Taking torch apart would take a second until then, in
    which an edit would not be noticed, and a stage whose dvc is gone would stay a second longer. Called before other
    libraries ask to be called at the end: the first comes last.
    """

    def leave() -> None:
        if not _codes:
            return
        if _codes[-1] == 0:
            try:
                held.check()
            except TemporaryFailure as error:
                print(printable(f"{stage}: {error}"), file=sys.stderr, flush=True)
                _leave_at_once(error.exit_code)
        _leave_at_once(_codes[-1])

    atexit.register(leave)


def _refuse_arguments(stage: str) -> None:
    """End a stage that is given arguments: it would do all its work and ignore them."""
    program, given = sys.modules["__main__"], sys.argv[1:]
    if not given or program.__spec__ is None or program.__spec__.name != f"stages.{stage}.__main__":
        return  # another program may have arguments of its own
    usage = "it takes no arguments: params.yaml says what it does, and python -m flows.run --set KEY=VALUE for once"
    if given[0] in ("-h", "--help"):
        print(printable(f"{(program.__doc__ or stage).strip()}\n\n{usage[0].upper()}{usage[1:]}."))
        sys.exit(0)
    print(printable(f"{stage}: unexpected: {' '.join(given)}; {usage}"), file=sys.stderr, flush=True)
    sys.exit(ConfigError.exit_code)


def _end(stage: str, message: str, code: int) -> NoReturn:
    _said.append(message)
    streams.flush(1)
    process = worker()
    if process is not None:
        stage += f", rank {process.rank} of {process.world_size}"
        ignore()  # torchrun sends signals to the whole group when one process fails, also to those that are ending
    elif dvc_runs(stage) and orphans.reason():
        # Another dvc may be at work on these files already.
        if has_succeeded(stage):
            message += f"\n  dvc checkout --force {stage} puts the results of its last success back"
    elif dvc_runs(stage) and restore(stage):
        message += f"\n  the results of the last {stage} that succeeded are back in place"
    streams.complain(f"{stage}: {message}")
    if process is not None:
        _leave_at_once(code)
    _codes.append(code)
    sys.exit(code)


def _leave_at_once(code: int) -> NoReturn:
    """End this process without Python's own shutdown: one of a process group that has failed, or `_leave_quickly`.

    In a group torch joins gloo's thread while it holds the interpreter's lock. After a collective that broke off, that
    thread may wait for the lock: the process hung until it was killed half a minute later (docs/decisions.md).
    """
    quick_end.leave(code)
