"""When a result may not stand: judge.max_invalid, the share of answers that may lack a score or an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.plurals import counted, word
from stages.common.results.judge import PAIRWISE, VERDICTS, PairVerdict, Verdict
from stages.judge.judges.remedies import of_verdict


def require_scores(verdicts: Sequence[Verdict], max_invalid: float, by: str = "") -> None:
    """Refuse a result in which too many answers of one model have no score. Open rows are not for the judge.

    Args:
        verdicts: the verdicts on one model's answers.
        max_invalid: the largest share of them that may lack a score.
        by: name of a further judge, whose verdicts are in no file.

    Raises:
        ServiceUnavailable: some of them failed, so that running the stage again may score them.
        ConfigError: the judge has answered for all of them, but without a score.
    """
    without = [verdict for verdict in verdicts if verdict.status not in ("scored", "open")]
    whose = f"of the model {verdicts[0].model}" if verdicts else ""
    what = f"of {counted(len(verdicts), 'answer')} {whose} {word(len(without), 'has', 'have')} no score"
    what += f" by {by}" if by else ""
    _require(without, len(verdicts), max_invalid, what, None if by else VERDICTS)


def require_outcomes(pairs: Sequence[PairVerdict], max_invalid: float, file: Path | None = PAIRWISE) -> None:
    """Refuse a result in which too many rows have no outcome. Open rows are not for the judge.

    Args:
        pairs: one verdict a row.
        max_invalid: the largest share of them that may lack an outcome.
        file: file with all of them, for the message; None where they are in none.

    Raises:
        ServiceUnavailable, ConfigError: as `require_scores`.
    """
    without = [pair for pair in pairs if pair.outcome is None and pair.status != "open"]
    what = f"of {counted(len(pairs), 'pair')} of answers {word(len(without), 'has', 'have')} no verdict"
    _require(without, len(pairs), max_invalid, what, file)


def _require(
    without: Sequence[Verdict | PairVerdict], count: int, max_invalid: float, what: str, file: Path | None
) -> None:
    if len(without) <= max_invalid * count:
        return
    failed = [one for one in without if one.status == "failed"]
    example = (failed or without)[0]
    message = (
        f"{len(without)} {what} ({len(without) - len(failed)} invalid, {len(failed)} failed), more than "
        f"judge.max_invalid ({max_invalid:g}) allows; {example.id}: {example.detail}"
    )
    if file is not None:
        message += f"; all are in {file}"
    if failed:
        again = "run the same command again: what the judge has answered is not asked again"
        option = of_verdict(example.detail)
        raise ServiceUnavailable(message, f"{option}; then {again}" if option else again)
    raise ConfigError(message, of_verdict(example.detail) or "set another judge.model or judge.rubric in params.yaml")
