"""Makes a judge card of the judge that params.yaml names: how far can it be believed?

    python -m tools.judge_check [--labels FILE] [--repeats N] [--out FOLDER]

It is `make judge-check`. The judge takes its self-test and its test with pairs, scores answers that people, or a
stronger judge, have graded, and scores some of them several times. The labels are assets/grading/answers.jsonl, a file
of that form (assets/grading/README.md), or one of `python -m flows.grade` for the test rows of this folder. The
built-in judge weighs words by the bundled rows but for the graded questions. What a judge behind a server has said is
kept in .cache/judge, as the stage keeps it. The card is judge-card.md and judge-card.json; it tells what verdicts cost,
and so is no output of a stage.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stages.common.errors import DataError
from stages.common.files import atomic_file, read_jsonl, sha256
from stages.common.labels import LabelRow
from stages.common.plurals import counted
from stages.common.printable import printable
from stages.common.records import read_records, write_metrics
from stages.common.results.judge import JUDGE_CACHE, Verdict
from stages.common.results.split import Example, split_file
from stages.judge.cache import VerdictCache, cache_path
from stages.judge.job import identity_of_scores, marked
from stages.judge.judges.opening import open_judge
from stages.judge.judges.protocol import JudgeBackend, Question
from stages.judge.panel import Asking, judge_with_progress_bar
from stages.judge.refusal import Refused
from stages.judge.self_test import SELF_TESTS, pair_test, self_test
from stages.params import whole
from stages.params.judge import Judge
from stages.running import program
from stages.running.arguments import Parser, whole_number
from stages.running.console import say
from tools.grades import FIX, GRADES, RIGHT_FROM, Graded, judge_for, read
from tools.judge_card import Card, consistency, markdown
from tools.label_agreement import LabelAgreement, agreement

#: Answers that are scored several times, the first of those that are not equal to their reference.
REPEATED = 30
FOLDER = JUDGE_CACHE / "card"


def main() -> None:
    """Make the card, print it, and say where it is.

    Raises:
        ConfigError: the judge cannot be asked, or gives no score at all.
        ServiceUnavailable: it does not answer.
        DataError: the labels cannot be read.
    """
    options = _arguments()
    settings = whole.load().judge.model_copy(update={"on_refusal": "warn"})  # the card tells of a refusal
    card = card_of(settings, options.labels, options.repeats)
    text = markdown(card)
    write_metrics(options.out / "judge-card.json", card)
    with atomic_file(options.out / "judge-card.md") as stream:
        stream.write(text)
    print(printable(text))
    say(f"the card is {options.out / 'judge-card.md'}, and its figures are {options.out / 'judge-card.json'}")


def _arguments() -> argparse.Namespace:
    parser = Parser(prog="python -m tools.judge_check", description="Make a card of the judge.")
    parser.add_argument("--labels", type=Path, default=GRADES, metavar="FILE", help="graded answers as JSON lines")
    of_repeats = "scores of one answer, from 2 to 20 (3)"
    parser.add_argument("--repeats", type=whole_number(2, 20), default=3, metavar="N", help=of_repeats)
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help="folder of the card")
    return parser.parse_args()


def labelled(path: Path) -> list[Graded]:
    """The graded answers of a file: of the form of assets/grading/README.md, or as `python -m flows.grade` writes it.

    Raises:
        DataError: it is not there, a line is of neither form, or a grade is not from 0 to 100; the message names file,
            line and field.
    """
    fix = f"{FIX}, or one that python -m flows.grade has written"
    first = next((value for _, value in read_jsonl(path, made_by=fix)), None)
    if first is None:
        raise DataError(f"{path}: expected graded answers, found none", fix)
    of_flow = isinstance(first, dict) and {"id", "score"} <= first.keys()
    return _of_labels(path, fix) if of_flow else read(path)


def _of_labels(path: Path, fix: str) -> list[Graded]:
    """The labels of `python -m flows.grade`, with their questions from the test rows in this folder.

    An answer is right from `RIGHT_FROM` points on.

    Raises:
        DataError: a line is no label, or labels a row that is not in the test set of this folder.
    """
    labels = [row for row in read_records(path, LabelRow, made_by=fix) if row.score is not None]
    test = split_file("test")
    rows = {row.id: row for row in read_records(test, Example, made_by="dvc repro split")}
    if unknown := sorted({row.id for row in labels} - rows.keys()):
        raise DataError(
            f"{path}: {counted(len(unknown), 'id')} of no row of {test}, the first one: {unknown[0]}",
            "run this in the folder whose answers were graded",
        )
    found: list[Graded] = []
    for label in labels:
        row, score = rows[label.id], float(label.score or 0)
        texts = (row.instruction, row.input, row.output, label.answer)
        found.append(Graded("held out", label.model, *texts, right=score >= RIGHT_FROM, grade=score))
    if not found:
        raise DataError(f"{path}: expected graded answers, found {counted(len(labels), 'score')}", fix)
    return found


def card_of(settings: Judge, labels: Path, repeats: int) -> Card:
    """Try a judge, and have it score the graded answers.

    Args:
        settings: the section judge of params.yaml.
        labels: path of the graded answers.
        repeats: number of scores of each of `REPEATED` answers; a fixed measure, or temperature 0, gives one.

    Raises:
        DataError: the labels cannot be read; said before the judge is opened.
    """
    graded = labelled(labels)
    opened = judge_for(graded) if settings.backend == "reference" else open_judge(settings)
    with contextlib.closing(opened) as judge:
        tests = SELF_TESTS if judge.cacheable else None
        tested = self_test(judge, settings, tests)
        comparing = judge.comparing()
        pairs, refused = None, None
        try:
            pairs = pair_test(comparing, settings, SELF_TESTS if comparing.cacheable else None)
        except Refused as error:
            refused = error.what
        verdicts = _scored(judge, graded, settings, 1)
        hard = [(one, verdict) for one, verdict in zip(graded, verdicts, strict=True) if not one.question().is_exact]
        # At temperature 0 every seed gives the same reply: equal scores would be no evidence of anything.
        times = 1 if judge.deterministic or settings.temperature == 0 else repeats
        again = _scored(judge, [one for one, _ in hard[:REPEATED]], settings, times)
        return Card(
            judge=marked(identity_of_scores(judge, settings), tested.mark),
            labels=str(labels.relative_to(Path.cwd()) if labels.is_relative_to(Path.cwd()) else labels),
            labels_sha256=sha256(labels),
            self_test=tested,
            pairs=pairs,
            pairs_refused=refused,
            all_rows=agreement(graded, verdicts),
            not_equal_to_reference=_of(hard),
            held_out=_held_out(hard) if settings.backend == "reference" else None,
            consistency=consistency(again, times, fixed=judge.deterministic),
            costs=judge.costs(),
        )


def _of(judged: Sequence[tuple[Graded, Verdict]]) -> LabelAgreement:
    return agreement([one for one, _ in judged], [verdict for _, verdict in judged])


def _held_out(judged: Sequence[tuple[Graded, Verdict]]) -> LabelAgreement | None:
    """The agreement on the held-out half; None where the labels are all of one half."""
    if len({one.half for one, _ in judged}) < 2:
        return None
    return _of([(one, verdict) for one, verdict in judged if one.half == "held out"])


def _scored(judge: JudgeBackend, graded: Sequence[Graded], settings: Judge, repeats: int) -> list[Verdict]:
    """The verdicts on graded answers; with ``repeats``, each the mean of so many."""
    questions: list[Question] = [replace(one.question(), id=f"graded-{index}") for index, one in enumerate(graded)]
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(VerdictCache(cache_path(judge.identity()))) if judge.cacheable else None
        asking = Asking(settings.parallel, repeats, cache=cache)
        return judge_with_progress_bar(judge, questions, asking, what="judging graded answers")


if __name__ == "__main__":
    program.run("judge-check", main)
