"""The errors that a user can cause or fix, and the exit code with which each ends a program.

    PipelineError               70  a fault in this project, or one that nobody expected
    ├── DataError               65  a file, row or download does not hold what it should, or a result is missing
    ├── ServiceUnavailable      69  something over the network does not answer
    ├── InputOutputError        74  the operating system cannot read or write a file
    │   └── NoSpace                 because the disk is full
    ├── TemporaryFailure        75  the same command may succeed if it is run again
    └── ConfigError             78  params.yaml, an option or the environment is wrong

An error that another value or option fixes is a ConfigError: a batch larger than the data, or the name of a file, an
address or a run that does not exist. An error that a command fixes is a DataError: bytes with another SHA-256 than the
pinned one, or a result that is missing.

The codes are those of BSD's sysexits.h. Of these, Prefect retries only 69 and 75.
"""

from __future__ import annotations

from typing import Self


class PipelineError(Exception):
    """An error that the user sees as one message, without a traceback.

    Args:
        what: the problem: the file, row, field or key, what was expected and what was found.
        fix: the command or the edit that fixes it.
    """

    exit_code = 70

    def __init__(self, what: str, fix: str | None = None) -> None:
        super().__init__(what if fix is None else f"{what}\n  to fix it: {fix}")
        self.what = what
        self.fix = fix


class DataError(PipelineError):
    """A file, a row or a download does not hold what it should, or a stage's result is missing."""

    exit_code = 65


class ServiceUnavailable(PipelineError):
    """A host, a server or a model behind it does not answer as it should."""

    exit_code = 69


class InputOutputError(PipelineError):
    """The operating system cannot read or write a file."""

    exit_code = 74

    @classmethod
    def of(cls, error: OSError) -> Self:
        """One of our errors for one of the operating system's; it names the path."""
        return cls(f"{error.filename or 'input/output'}: {error.strerror or error}")


class NoSpace(InputOutputError):
    """The disk is too full for what is to be written."""


class TemporaryFailure(PipelineError):
    """The work was interrupted; the same command continues it."""

    exit_code = 75


class ConfigError(PipelineError):
    """A value of params.yaml, an option or an environment variable is wrong, or does not fit the data."""

    exit_code = 78


#: Exit codes after which running the same stage again can help.
RETRYABLE_EXIT_CODES = frozenset({ServiceUnavailable.exit_code, TemporaryFailure.exit_code})
