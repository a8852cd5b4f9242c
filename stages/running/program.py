"""How a stage runs as a program: signals become exceptions, errors become a message and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn, TypeVar

from stages.common.errors import ConfigError, InputOutputError, PipelineError, TemporaryFailure
from stages.params import whole
from stages.params.section import Section
from stages.running import environment
from stages.running.restore import restore
from stages.running.signals import Interrupted, ignore, raise_at_once
from stages.running.tracking import tracker

S = TypeVar("S", bound=Section)


def section(kind: type[S]) -> S:
    """A stage's section of params.yaml, ``program.section(Split)`` for the section ``split``.

    The whole file is checked first: a mistake in a later stage's section is told before any stage works. A stage's code
    reads its own section and depends on its own schema alone, so that an option of the judge retrains nothing.

    Raises:
        ConfigError: params.yaml is missing or not YAML, or holds unknown keys or wrong values; every problem is listed.
    """
    found = getattr(whole.load(), kind.__name__.lower())
    assert isinstance(found, kind)
    return found


def torch_settings(stage: str) -> dict[str, str]:
    """What torch is to find in a stage's environment when it is loaded (measured in docs/decisions.md)."""
    # Threads wait for one another in busy loops, by default for so long that a step takes many times as long wherever
    # another process wants the core too.
    settings = {"GOMP_SPINCOUNT": "1000"}
    if stage == "finetune":
        # Large tensors come in pages of 2 MB, where the system gives these to who asks. Every step allocates gigabytes,
        # and the first touch of each page of 4 kB takes longer than to fill it. In generation places of the
        # KV cache that nobody reaches would take memory too.
        settings["THP_MEM_ALLOC_ENABLE"] = "1"
    return settings


def run(stage: str, main: Callable[[], None]) -> NoReturn:
    """Run a stage's ``main`` and end the process with the exit code that `stages.common.errors` gives.

    Args:
        stage: the stage's name, put before every message.
        main: the stage.
    """
    for name, value in torch_settings(stage).items():  # before torch is loaded, which a stage's main does
        os.environ.setdefault(name, value)
    _refuse_arguments(stage)
    raise_at_once()
    succeeded = False
    try:
        main()
        succeeded = True
    except PipelineError as error:
        _end(stage, str(error), error.exit_code)
    except Interrupted as interruption:
        _end(stage, f"stopped by {interruption}; run the same command again", TemporaryFailure.exit_code)
    except BrokenPipeError:
        _end(stage, "the reader of this program's output went away", TemporaryFailure.exit_code)
    except MemoryError:
        message = "out of memory; end what else uses this machine's, and run the same command again"
        _end(stage, message, TemporaryFailure.exit_code)
    except OSError as error:
        # A full disk, a folder that may not be written: the user's to mend, and the message says which path.
        _end(stage, str(InputOutputError.of(error)), InputOutputError.exit_code)
    except Exception:
        if environment.worker() is None:
            raise
        traceback.print_exc()
        _leave_at_once(1)
    finally:
        # A second signal ends the wait for the tracker, not the way out. Of several processes the one that started the
        # others tells.
        if environment.worker() is None:
            with contextlib.suppress(Interrupted):
                tracker.stage_over(stage, succeeded=succeeded)
    sys.exit(0)


def _refuse_arguments(stage: str) -> None:
    """End a stage that is given arguments: it would do its whole work, and none of what they say."""
    program, given = sys.modules["__main__"], sys.argv[1:]
    if not given or program.__spec__ is None or program.__spec__.name != f"stages.{stage}.__main__":
        return  # who runs it otherwise may have arguments of their own
    usage = "it takes no arguments: params.yaml says what it does, and python -m flows.run --set KEY=VALUE for once"
    if given[0] in ("-h", "--help"):
        print(f"{(program.__doc__ or stage).strip()}\n\n{usage[0].upper()}{usage[1:]}.")
        sys.exit(0)
    print(f"{stage}: unexpected: {' '.join(given)}; {usage}", file=sys.stderr, flush=True)
    sys.exit(ConfigError.exit_code)


def _end(stage: str, message: str, code: int) -> NoReturn:
    sys.stdout.flush()
    if (place := environment.worker()) is not None:
        stage += f", process {place[0]} of {place[1]}"
        ignore()  # what started this process ends all when one fails, also those that are on their way out
    elif os.environ.get("DVC_STAGE") == stage and restore(stage):
        message += f"\n  the results of the last {stage} that succeeded are back in place"
    print(f"{stage}: {message}", file=sys.stderr, flush=True)
    if place is not None:
        _leave_at_once(code)
    sys.exit(code)


def _leave_at_once(code: int) -> NoReturn:
    """End one process of a team that has failed, without Python's way out.

    There torch joins gloo's thread and holds the interpreter's lock, for which that thread may be waiting since the
    collective that broke off: the process then hung until it was killed half a minute later (docs/decisions.md).
    """
    with contextlib.suppress(OSError):  # nobody reads it any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
