"""Scores every answer to the test prompts, and summarises the scores."""

from __future__ import annotations

import contextlib
import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.common.errors import ConfigError, DataError, ServiceUnavailable
from stages.common.files import atomic_file, read_json, sha256, write_json
from stages.common.records import ModelName, read_records, write_metrics, write_records
from stages.common.results.download import TOKENIZER
from stages.common.results.generate import RESPONSES, Response
from stages.common.results.judge import (
    JUDGE_CACHE,
    JUDGE_METRICS,
    PAIRWISE,
    SCORES,
    SCORES_CSV,
    SCORES_PLOT,
    VERDICTS,
    Verdict,
)
from stages.common.results.split import SPLIT_METRICS, Example, split_file
from stages.judge.cache import VerdictCache, cache_path
from stages.judge.judges.opening import open_judge
from stages.judge.judges.protocol import JudgeBackend, Question, fingerprint
from stages.judge.panel import judge_with_progress_bar
from stages.judge.scores import calibration
from stages.judge.scores.calibration import Grades, calibrate
from stages.judge.scores.faults import faults, points_lost, with_fluent, words_of_rows, words_of_tokenizer
from stages.judge.scores.pairwise import PairVerdict, in_both_orders, settle, summarise_pairs
from stages.judge.scores.plot import plot_scores
from stages.judge.scores.statistics import difference, summarise
from stages.judge.self_test import pair_test, self_test
from stages.params.judge import Judge
from stages.running import console, summary
from stages.running.costs import JUDGING_COSTS, JudgingCosts
from stages.running.tracking import tracker

GENERATE = "dvc repro --force generate"
#: What `try_out` says of scores.
SCORING = ("judge", "self_test")
#: The ends of an interval.
ENDS = ("low", "high")
#: Digits of a fingerprint that are enough to tell judges apart.
FINGERPRINT = 12


def judge_answers(settings: Judge) -> None:
    """Judge every answer, and write what the stage promises."""
    with tracker.stage("judge") as run:
        examples = list(read_records(split_file("test"), Example, made_by="dvc repro split"))
        responses = list(read_records(RESPONSES, Response, made_by=GENERATE))
        models = models_of(responses, settings)
        questions = join(examples, responses, models)
        wrong = faults_of(questions, responses)
        twins, grades = twins_in_train(), better_scores(questions, settings)
        pairs: list[PairVerdict] = []
        written = False
        with contextlib.ExitStack() as stack:
            judge = stack.enter_context(contextlib.closing(open_judge(settings)))
            stack.callback(lambda: account(judge.costs(), run, written=written))  # also where it ends in the middle
            comparing = judge.comparing() if settings.mode == "pairwise" else None
            about = try_out(judge, comparing, settings)
            verdicts = ask(judge, questions, settings)
            verdicts = [with_fluent(v.model_copy(update={"faults": wrong[v.id, v.model]})) for v in verdicts]
            if comparing is not None:
                # The scores first: comparing can fail.
                write(
                    {name: about[name] for name in SCORING}, questions, verdicts, [], examples, twins, grades, settings
                )
                pairs = compare_answers(comparing, questions, settings)
            write(about, questions, verdicts, pairs, examples, twins, grades, settings)
            written = True
        run.publish()
        if not run.under_flow:
            console.say(summary.text())
        for model in models:
            require_scores([verdict for verdict in verdicts if verdict.model == model], settings.max_invalid)
        require_outcomes(pairs, settings.max_invalid)


def models_of(responses: Sequence[Response], settings: Judge) -> list[ModelName]:
    """The models that have answered, in the order of their answers.

    Raises:
        DataError: the fine-tuned one has not, or in pairwise mode the other has not.
    """
    found = list(dict.fromkeys(response.model for response in responses))
    wanted = {"tuned", "base"} if settings.mode == "pairwise" else {"tuned"}
    if missing := wanted.difference(found):
        raise DataError(f"{RESPONSES}: no answer by the model {', '.join(sorted(missing))}", GENERATE)
    return found


def join(examples: Sequence[Example], responses: Sequence[Response], models: Sequence[ModelName]) -> list[Question]:
    """One question a test row and model, in the order of the rows.

    Raises:
        DataError: an answer is missing, is there twice, or belongs to no row or model; or two rows have one id.
    """
    if twice := [id for id, count in Counter(row.id for row in examples).items() if count > 1]:
        raise DataError(f"{split_file('test')}: more than one row: {_some(twice)}", "dvc repro --force split")
    wanted = {(row.id, model): row for row in examples for model in models}
    counts = Counter((response.id, response.model) for response in responses)
    problems = {
        "no answer": [key for key in wanted if key not in counts],
        "more than one answer": [key for key, count in counts.items() if count > 1 and key in wanted],
        "answers to no test row": [key for key in counts if key not in wanted],
    }
    found = [f"{what}: {_some([f'{id} ({model})' for id, model in keys])}" for what, keys in problems.items() if keys]
    if found:
        raise DataError(f"{RESPONSES} does not fit {split_file('test')}: {'; '.join(found)}", GENERATE)
    answers = {(response.id, response.model): response.text for response in responses}
    return [
        Question(row.id, model, row.instruction, row.input, row.output, answers[row.id, model])
        for (_, model), row in wanted.items()
    ]


def twins_in_train() -> set[str]:
    """The ids of the test rows whose instruction and input also occur in train, as the stage split found them."""
    found = read_json(SPLIT_METRICS, made_by="dvc repro split")
    return set(found["prompts_also_in_train"]["test"]["ids"])


def faults_of(questions: Sequence[Question], responses: Sequence[Response]) -> dict[tuple[str, str], list[str]]:
    """What can be seen to be wrong with each answer, by id and model."""
    words = words_of_tokenizer(TOKENIZER)
    words |= words_of_rows(read_records(split_file("train"), Example, made_by="dvc repro split"))
    stops = {(response.id, response.model): response.stop_reason for response in responses}
    return {(q.id, q.model): faults(q, stops[q.id, q.model], words) for q in questions}


def better_scores(questions: Sequence[Question], settings: Judge) -> Grades | None:
    """The scores of judge.calibration, which are checked before anything is judged; None where it is null."""
    if settings.calibration is None:
        return None
    graded = calibration.read(settings.calibration)
    found = calibration.of_these_answers(graded, questions, settings.calibration)
    if found.stale:
        console.say(f"judge.calibration: {found.stale} of {found.rows} rows grade other answers, and are left out")
    return found


def try_out(judge: JudgeBackend, comparing: JudgeBackend | None, settings: Judge) -> dict[str, Any]:
    """Who judges and how its scores are made, with the results of its tests: sections of metrics.json.

    The fingerprint there is that of the scores: how often each is asked for, and whether exact answers are, counts too.
    """
    kept = JUDGE_CACHE / "self-test" if judge.cacheable else None
    identity = judge.identity()
    if not judge.deterministic:
        identity |= {"repeats": str(settings.repeats), "exact_match": settings.exact_match}
    about: dict[str, Any] = {"judge": {"fingerprint": fingerprint(identity), **identity}}
    about["self_test"] = self_test(judge, settings, kept).model_dump(exclude_unset=True)
    if comparing is not None:
        identity = comparing.identity()
        about["pairwise"] = {
            "judge": {"fingerprint": fingerprint(identity), **identity},
            "self_test": pair_test(comparing, settings, kept).model_dump(exclude_unset=True),
        }
    return about


def ask(judge: JudgeBackend, questions: Sequence[Question], settings: Judge) -> list[Verdict]:
    """A verdict on every question."""
    repeats = 1 if judge.deterministic else settings.repeats
    return _judged(judge, questions, settings, "judging", repeats=repeats, skip_exact=settings.exact_match == "skip")


def compare_answers(judge: JudgeBackend, questions: Sequence[Question], settings: Judge) -> list[PairVerdict]:
    """Both models' answers to each row, compared in both orders. Each is asked once: judge.repeats is for scores."""
    return settle(questions, _judged(judge, in_both_orders(questions), settings, "comparing"))


def _judged(
    judge: JudgeBackend, questions: Sequence[Question], settings: Judge, what: str, **options: Any
) -> list[Verdict]:
    with contextlib.ExitStack() as stack:
        cache = None
        if judge.cacheable:
            cache = stack.enter_context(VerdictCache(cache_path(judge.identity())))
        return judge_with_progress_bar(judge, questions, what=what, parallel=settings.parallel, cache=cache, **options)


def account(costs: JudgingCosts | None, run: tracker.StageRun, *, written: bool) -> None:
    """Keep and tell what the judging has taken, where no result of the stage depends on it.

    Only costs of verdicts that are ``written`` are told as theirs in the summary.
    """
    if costs is not None:
        known = costs.model_dump(exclude_unset=True)
        run.log_metrics({f"cost/judge_{name}": value for name, value in known.items()}, step=0)
        write_metrics(JUDGING_COSTS, costs.model_copy(update={"verdicts": sha256(VERDICTS)}) if written else costs)


def write(
    judge: dict[str, Any],
    questions: Sequence[Question],
    verdicts: Sequence[Verdict],
    pairs: Sequence[PairVerdict],
    examples: Sequence[Example],
    twins: set[str],
    grades: Grades | None,
    settings: Judge,
) -> None:
    """Write everything that the stage has to say."""
    categories = {row.id: row.category for row in examples}
    bootstrap = {"resamples": settings.bootstrap_resamples, "seed": settings.seed}
    by_model = {
        model: [v for v in verdicts if v.model == model] for model in sorted({v.model for v in verdicts}, reverse=True)
    }
    answers = {model: {q.id: q.answer for q in questions if q.model == model} for model in by_model}
    metrics = judge | {
        model: summarise(found, categories, twins=twins, **bootstrap) | {"faults": points_lost(found, answers[model])}
        for model, found in by_model.items()
    }
    if "base" in by_model:
        metrics["difference"] = difference(by_model["tuned"], by_model["base"], **bootstrap)
    if settings.calibration is not None and grades is not None:
        metrics["calibration"] = calibrate(verdicts, grades, settings.calibration, seed=settings.seed)
    if "pairwise" in judge:
        metrics["pairwise"] = metrics.pop("pairwise") | summarise_pairs(pairs, **bootstrap)
    write_records(VERDICTS, verdicts)
    if pairs:
        write_records(PAIRWISE, pairs)
    else:
        with atomic_file(PAIRWISE) as stream:
            stream.write("\n")  # DVC warns of an output that is empty
    write_json(JUDGE_METRICS, metrics)
    write_json(SCORES, headlines(metrics))
    with atomic_file(SCORES_CSV) as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["id", "category", *by_model])
        columns = [[verdict.score for verdict in found] for found in by_model.values()]
        table.writerows(zip(categories.keys(), categories.values(), *columns, strict=True))
    plot_scores(SCORES_PLOT, verdicts, metrics)


def headlines(metrics: dict[str, Any]) -> dict[str, Any]:
    """What `dvc metrics` shows of the result: few enough figures that they fit a screen.

    The judge is among them, as its name and the beginning of its fingerprint: `dvc metrics diff` would set two judges'
    scores beside one another and say nothing.
    """
    scores: dict[str, Any] = {"judge": _short(metrics["judge"])} | {
        name: {"score": metrics[name]["mean"]} | {f"ci95_{end}": metrics[name]["interval"][end] for end in ENDS}
        for name in ("tuned", "base", "difference")
        if name in metrics
    }
    scores["tuned"] |= {status: metrics["tuned"][status] for status in ("scored", "invalid", "failed")}
    if "pairwise" in metrics:
        found = metrics["pairwise"]
        rate, controlled = found["win_rate"], found["length_controlled"]
        scores["pairwise"] = {"judge": _short(found["judge"]), "win_rate": rate["mean"]}
        scores["pairwise"] |= {f"ci95_{end}": rate["interval"][end] for end in ENDS}
        scores["pairwise"] |= {"length_controlled": controlled["win_rate"], "consistency": found["consistency"]}
    return scores


def _short(judge: dict[str, str]) -> str:
    return f"{judge.get('model', judge['backend'])} {judge['fingerprint'][:FINGERPRINT]}"


def require_scores(verdicts: Sequence[Verdict], max_invalid: float) -> None:
    """Refuse a result in which too many answers of one model have no score.

    Raises:
        ServiceUnavailable: some of them failed, so that running the stage again may score them.
        ConfigError: the judge has answered for all of them, but without a score.
    """
    without = [verdict for verdict in verdicts if verdict.status != "scored"]
    what = f"of {len(verdicts)} answers of the model {verdicts[0].model} have no score" if verdicts else ""
    _require(without, len(verdicts), max_invalid, what, VERDICTS)


def require_outcomes(pairs: Sequence[PairVerdict], max_invalid: float) -> None:
    """Refuse a result in which too many rows have no outcome; the errors are those of `require_scores`."""
    without = [pair for pair in pairs if pair.outcome is None]
    _require(without, len(pairs), max_invalid, f"of {len(pairs)} pairs of answers have no verdict", PAIRWISE)


def _require(without: Sequence[Verdict | PairVerdict], count: int, max_invalid: float, what: str, file: Path) -> None:
    if len(without) <= max_invalid * count:
        return
    failed = [one for one in without if one.status == "failed"]
    example = (failed or without)[0]
    message = (
        f"{len(without)} {what} ({len(without) - len(failed)} invalid, {len(failed)} failed), more than "
        f"judge.max_invalid ({max_invalid:g}) allows; {example.id}: {example.detail}; all are in {file}"
    )
    if failed:
        raise ServiceUnavailable(message, "run the same command again: what the judge has answered is not asked again")
    mend = "set another judge.model or judge.rubric, or a larger judge.num_ctx or judge.num_predict, in params.yaml"
    raise ConfigError(message, mend)


def _some(names: Sequence[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
