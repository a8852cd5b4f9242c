"""The errors that a user can cause or mend, and the exit code each one ends a program with.

    PipelineError               70  a fault of ours, or one nobody foresaw
    ├── DataError               65  what is in a file, row or download is not what it should be, or a result is missing
    ├── ServiceUnavailable      69  something over the network does not answer
    ├── InputOutputError        74  the system does not read or write a file
    │   └── NoSpace                 because the disk is too small for it
    ├── TemporaryFailure        75  the same command may succeed if it is run again
    └── ConfigError             78  params.yaml, an option or the environment is wrong

Where a value and the data do not fit one another, as a batch larger than the rows there are, or a value or an option
names nothing, as an address at which nothing is, a file or a run, the value or option is wrong: another one mends it.
Bytes of another SHA-256 than the pinned one are data, and so is a result that is not there: its command mends it.

The codes are those of BSD's sysexits.h. Prefect retries 69 and 75 and nothing else.
"""

from __future__ import annotations

from typing import Self


class PipelineError(Exception):
    """An error that is told to the user in one message, without a traceback.

    Args:
        what: what is wrong: the file, row, field or key, what was expected and what was found.
        fix: the command or the edit that mends it.
    """

    exit_code = 70

    def __init__(self, what: str, fix: str | None = None) -> None:
        super().__init__(what if fix is None else f"{what}\n  to fix it: {fix}")
        self.what = what
        self.fix = fix


class DataError(PipelineError):
    """What is in a file, a row or a download is not what it should be, or a stage's result is not there."""

    exit_code = 65


class ServiceUnavailable(PipelineError):
    """A host, a server or a model behind it does not answer as it should."""

    exit_code = 69


class InputOutputError(PipelineError):
    """The system does not read or write a file."""

    exit_code = 74

    @classmethod
    def of(cls, error: OSError) -> Self:
        """The system's own error, which names the path, as one of ours."""
        return cls(f"{error.filename or 'input/output'}: {error.strerror or error}")


class NoSpace(InputOutputError):
    """A disk has no room for what is to be written."""


class TemporaryFailure(PipelineError):
    """The work was interrupted and goes on if the same command is run again."""

    exit_code = 75


class ConfigError(PipelineError):
    """A value of params.yaml, an option or an environment variable is wrong, or does not fit the data."""

    exit_code = 78


#: Exit codes after which running the same stage again can help.
RETRYABLE_EXIT_CODES = frozenset({ServiceUnavailable.exit_code, TemporaryFailure.exit_code})
