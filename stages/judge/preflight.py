"""What the judge needs, looked at before a run (`stages.running.checks.asking`)."""

from __future__ import annotations

from collections.abc import Iterator

from stages.common.errors import DataError, PipelineError
from stages.common.metrics.judge import SelfTest
from stages.common.metrics.split import SplitMetrics
from stages.common.paths import DATA, local_path
from stages.common.plurals import counted
from stages.common.records import read_metrics
from stages.common.results.split import SPLIT_METRICS
from stages.judge.judges.looking import Sighting, Slow, sight
from stages.judge.judges.transport import NotRunning
from stages.judge.probes import pair_probes, probes
from stages.judge.refusal import Refused, require
from stages.judge.scores import labels
from stages.judge.self_test import SELF_TESTS, kept_result
from stages.params.judge import Judge
from stages.params.whole import Params
from stages.running import dvc_yaml, machine
from stages.running.checks.row import Row, ok, problem, warning
from stages.running.checks.users_folder import there
from stages.running.console import duration, size
from stages.running.costs import JUDGING_COSTS, JudgingCosts

#: The longest time for the judge's server, in seconds.
SECONDS = 3.0
JUDGE = "judge"


def rows(params: Params) -> Iterator[Row]:
    """Whether the judge answers and has its model, and how long it will take."""
    settings = params.judge
    yield from _labels(settings)
    found = [*_of_judge(JUDGE, settings)]
    for one in settings.further():
        found += _of_judge(f"{JUDGE} {one.model}", one)
    yield from found
    by_server = settings.backend != "reference" or settings.panel
    if by_server and found[0].state == "ok":  # how long it takes is of interest once it is there
        yield _time(params)


def _of_judge(name: str, settings: Judge) -> Iterator[Row]:
    """Whether a judge answers and has its model; first that, then its memory and its self-test."""
    try:
        seen = sight(settings, SECONDS)
    except Slow as slow:
        yield warning(name, f"{slow}; it is asked again when there are answers to judge")
        return
    except PipelineError as error:
        yield problem(name, error, absent=isinstance(error, NotRunning))
        return
    if seen is None:
        yield ok(name, "the built-in reference judge, which needs no server and takes seconds")
        return
    yield ok(name, f"{seen.model}; {seen.server}")
    yield from _memory(seen)
    yield _self_test(settings, seen)


def _labels(settings: Judge) -> Iterator[Row]:
    """The human labels, where params.yaml names a file; one under data/ may be yet to come."""
    if settings.calibration is None:
        return
    path = dvc_yaml.origin(local_path(settings.calibration.source))
    if path.is_relative_to(DATA) and not path.exists():
        return
    name = "judge labels"
    try:
        found = labels.read(settings.calibration.model_copy(update={"source": str(path)}))
        yield ok(name, f"{len(found):,} in {settings.calibration.source}")
    except PipelineError as error:
        yield problem(name, error)


def _memory(seen: Sighting) -> Iterator[Row]:
    if seen.takes is None:
        return
    free = machine.free_memory()
    found = f"its model takes {size(seen.takes)} when it is loaded, and {size(free)} of main memory are free"
    if seen.takes <= free:
        yield ok("judge memory", found)
    else:
        yield warning(
            "judge memory", found, "let it run on a GPU, end what else takes memory, or choose a smaller model"
        )


def _self_test(settings: Judge, seen: Sighting) -> Row:
    name, count = "judge self-test", len(probes()) + (len(pair_probes()) if settings.mode == "pairwise" else 0)
    if not seen.identities:
        return ok(name, f"{count} questions; whether this judge has passed earlier shows when it is asked")
    found = [kept_result(identity, probes(), SELF_TESTS, SelfTest) for identity in seen.identities]
    if (known := next(filter(None, found), None)) is not None:
        return _known(name, known, settings)
    return ok(name, f"to come, before it judges: {count} questions whose answer is known")


def _known(name: str, known: SelfTest, settings: Judge) -> Row:
    """What an earlier self-test comes to by the bar of params.yaml."""
    try:
        require(known, settings)
    except Refused as refused:
        if settings.on_refusal == "stop":
            return problem(name, refused)
        return warning(name, f"{refused.what}; it will judge all the same, as judge.on_refusal says")
    if known.cannot_tell:
        return warning(name, "passed earlier, but this judge cannot tell right from wrong: its scores are marked")
    return ok(name, "passed earlier, and not repeated")


def _time(params: Params) -> Row:
    """How long judging takes, by the last judging on this machine and the rows of the last split."""
    name, settings = "judge time", params.judge
    try:
        costs = read_metrics(there(JUDGING_COSTS), JudgingCosts, made_by="dvc repro judge")
        tests = read_metrics(there(SPLIT_METRICS), SplitMetrics, made_by="dvc repro split").rows["test"]
    except (DataError, KeyError):
        return ok(name, "not known beforehand: no language model has judged here yet; it is told after five verdicts")
    judges = len(settings.panel) + (settings.backend != "reference")
    answers = tests * (len(params.generate.models) * settings.repeats * judges + 2 * (settings.mode == "pairwise"))
    each = costs.seconds / max(costs.replies, 1) / settings.parallel
    return ok(
        name,
        f"about {duration(answers * each)} for {counted(answers, 'verdict')}, at the pace of the last judging here",
    )
