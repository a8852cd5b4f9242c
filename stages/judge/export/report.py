"""What an export comes to: what was written, what it was compared with, and whether it may be called good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from stages.common import mistakes
from stages.common.errors import ConfigError, DataError, PipelineError, ServiceUnavailable
from stages.common.files import sha256
from stages.common.plurals import counted, word
from stages.common.records import Record
from stages.judge.export.answers import Difference
from stages.judge.export.optional import INSTALL
from stages.judge.export.scores import ScoreDifference

#: Name of the report in the folder of an export.
REPORT = "export.json"

#: same: all answers are the pipeline's, to the last token. differs: some are not, though the weights are. close: the
#: weights have fewer bits, and the score is not seen to be lower. lower: it is, by more than rows can explain.
Verdict = Literal["same", "differs", "close", "lower", "not compared"]
GOOD = ("same", "close")


class Exported(Record):
    """One export.

    Args:
        format: hf, ollama or gguf, with the quantisation behind it.
        path: its file or folder in the folder of the exports.
        sha256: SHA-256 of each of its files.
        verdict: what the comparison has shown.
        why_not: why it was not compared; null where it was.
        answered_with: what answered the test rows through it; null where nothing did.
        rows: test rows that it answered.
        differing: rows whose answers differ.
        score: its score beside the pipeline's; null where no answer differs.
    """

    format: str
    path: str
    sha256: dict[str, str]
    verdict: Verdict
    why_not: str | None = None
    answered_with: str | None = None
    rows: int = 0
    differing: list[Difference] = Field(default_factory=list)
    score: ScoreDifference | None = None


class Report(Record):
    """All exports of a run.

    Args:
        run: name of the run.
        responses: SHA-256 of the answers that the exports are compared with.
        rows: rows among them.
        exports: the exports.
    """

    run: str
    responses: str
    rows: int
    exports: list[Exported]


def read(path: Path) -> Report:
    """The report that an export has left.

    Raises:
        DataError: it is broken.
    """
    try:
        return Report.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {field}: {mistakes.describe(first)}", "name a new folder for an export") from None


def changed(report: Report, folder: Path) -> list[str]:
    """The paths of files that are not as they were compared, or missing, and of those that hf/ has in addition."""
    known = {name: digest for one in report.exports for name, digest in one.sha256.items()}
    found = [name for name, digest in known.items() if not (folder / name).is_file() or sha256(folder / name) != digest]
    there = (path.relative_to(folder).as_posix() for path in (folder / "hf").rglob("*") if path.is_file())
    return found + [name for name in there if name not in known]


def verdict(differing: Sequence[Difference], score: ScoreDifference | None, *, quantised: bool) -> Verdict:
    """What a comparison comes to.

    Args:
        differing: rows whose answers differ.
        score: the difference of the scores; None where no answer differs.
        quantised: whether the export has fewer bits than the model, so that answers may differ.
    """
    if not differing:
        return "same"
    if not quantised or any(not row.prompt for row in differing):
        return "differs"
    return "lower" if score is not None and score.is_lower else "close"


def lines(report: Report) -> list[str]:
    """The report for a person, a line or two for each export."""
    found = []
    for one in report.exports:
        found.append(f"{one.format:<12} {one.verdict}: {_told(one)}")
        if one.answered_with:
            found.append(f"{'':<12} answered with {one.answered_with}")
        found += [f"{'':<12} {line}" for line in _rows(one)]
    return found


#: Differing rows that are printed; export.json has all.
_SHOWN = 5


def _told(one: Exported) -> str:
    if one.verdict == "not compared":
        return f"nobody knows whether it answers as the model does: {one.why_not}"
    if not one.differing:
        return f"all {counted(one.rows, 'answer')} are the pipeline's, to the last token"
    count = len(one.differing)
    told = f"{count:,} of {counted(one.rows, 'answer')} {word(count, 'differs', 'differ')}"
    if prompts := sum(not row.prompt for row in one.differing):
        told += f", {prompts:,} by the prompt"
    if one.score is None or one.score.difference is None:
        return told
    score = one.score
    ends = "no interval" if score.low is None or score.high is None else f"[{score.low:+.1f}, {score.high:+.1f}]"
    return f"{told}; score {score.difference:+.1f} points {ends} on {counted(score.rows, 'row')}"


def _rows(one: Exported) -> list[str]:
    if one.verdict not in ("differs", "lower"):
        return []
    more = len(one.differing) - _SHOWN
    shown = [f"{row.id}: expected {row.expected!r}, found {row.found!r}" for row in one.differing[:_SHOWN]]
    return shown + ([f"and {more:,} more in {REPORT}"] if more > 0 else [])


def problem(report: Report, folder: str) -> PipelineError | None:
    """Why not all exports may be called good, as an error with its exit code; None where all may."""
    bad = [one for one in report.exports if one.verdict not in GOOD]
    if not bad:
        return None
    of = f"{folder}: {len(bad)} of {counted(len(report.exports), 'export')} may not be called good"
    named = ", ".join(f"{one.format} ({one.verdict})" for one in bad)
    if wrong := [one for one in bad if one.verdict != "not compared"]:
        fix = "use a format that is the same or close" if wrong[0].verdict == "lower" else _WRONG
        return DataError(f"{of}: {named}", fix)
    if no_server := [one for one in bad if one.format.startswith("ollama")]:
        return ServiceUnavailable(
            f"{of}: {named}: {no_server[0].why_not}", "start Ollama, and export into a new folder"
        )
    return ConfigError(f"{of}: {named}: {bad[0].why_not}", f"{INSTALL}, and export into a new folder")


_WRONG = (
    "look at the rows in export.json: in fp32 rounding decides between tokens of almost equal probability alone; "
    "answers that were made in bf16 or on a GPU differ more"
)
