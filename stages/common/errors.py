"""The errors that a user can cause or mend, and the exit code each one ends a program with.

    PipelineError               70  a fault of ours, or one nobody foresaw
    ├── DataError               65  a file, row or download is not what it should be
    ├── ServiceUnavailable      69  something over the network does not answer
    ├── NoSpace                 74  a disk is too small (so end errors of input and output in general)
    ├── TemporaryFailure        75  the same command may succeed if it is run again
    └── ConfigError             78  params.yaml or the environment is wrong

The codes are those of BSD's sysexits.h. Prefect retries 69 and 75 and nothing else.
"""

from __future__ import annotations


class PipelineError(Exception):
    """An error that is told to the user in one message, without a traceback.

    Args:
        what: what is wrong: the file, row, field or key, what was expected and what was found.
        fix: the command or the edit that mends it.
    """

    exit_code = 70

    def __init__(self, what: str, fix: str | None = None) -> None:
        super().__init__(what if fix is None else f"{what}\n  to mend it: {fix}")
        self.what = what
        self.fix = fix


class DataError(PipelineError):
    """A file, a row or a download is not what it should be."""

    exit_code = 65


class ServiceUnavailable(PipelineError):
    """A host, a server or a model behind it does not answer as it should."""

    exit_code = 69


class NoSpace(PipelineError):
    """A disk has no room for what is to be written."""

    exit_code = 74


class TemporaryFailure(PipelineError):
    """The work was interrupted and goes on if the same command is run again."""

    exit_code = 75


class ConfigError(PipelineError):
    """params.yaml, an override or an environment variable is wrong."""

    exit_code = 78


#: Exit codes after which running the same stage again can help.
RETRYABLE_EXIT_CODES = frozenset({ServiceUnavailable.exit_code, TemporaryFailure.exit_code})
