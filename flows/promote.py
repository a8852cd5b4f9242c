"""Make a run's model the champion, if it is better: `python -m flows.promote [RUN] [--why] [--by-hand REASON]`.

Registered models are in MLflow: a version for each run that has succeeded. The alias `champion` moves only where the
candidate's trainings are better than the champion's by the test that allows for training seeds and rows. So it takes
several trainings of either recipe: `make seeds N=5`. The first champion is granted without a test. The decision and its
numbers are tags of the version; `--why` prints them. The champion is that of the run's own profile.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from flows.again import original
from flows.tool_settings import set_defaults
from stages.common import paths
from stages.common.errors import ConfigError, DataError, ServiceUnavailable, TemporaryFailure
from stages.common.plurals import counted
from stages.common.printable import printable
from stages.common.secrecy import hidden
from stages.judge.runs import group, promotion
from stages.judge.runs.arguments import add_resampling
from stages.judge.runs.group import Group
from stages.judge.runs.promotion import Decision
from stages.judge.runs.sources import find_all, find_run, trainings_of
from stages.judge.runs.table import table
from stages.params import whole
from stages.running import program, project
from stages.running.arguments import Parser
from stages.running.tracking import lookup, mlflow_access, published, registry
from stages.running.tracking.registry import CANDIDATE, CHAMPION, Version

#: The exit code where the champion stays.
STAYS = 1
#: What the names of a decision's tags begin with: that of the last request, and that which made the version champion.
_ASKED, _CROWNED = "promotion.asked.", "promotion.crowned."
#: The numbers of a test, which a decision without one has not.
_NUMBERS = ("rows", "difference", "ci95_low", "ci95_high", "p", "test", "method")
_WIDTH = 12
#: Digits of a digest that are shown.
_DIGITS = 7


class Challenger(NamedTuple):
    """What is to become the champion.

    Args:
        version: its version in the registry.
        trainings: the trainings of its recipe that are known.
    """

    version: Version
    trainings: Group


def main() -> None:
    """Promote the run of the command line, or say why not.

    Raises:
        ConfigError: there is no such run, or it is not in the registry, or the working directory is no project's.
        ServiceUnavailable: MLflow cannot be asked.
        TemporaryFailure: another process has moved the champion meanwhile.
        SystemExit: the champion stays.
    """
    asked = _arguments()
    root = Path.cwd()
    project.require(root)
    os.environ["MLFLOW_TRACKING_URI"] = mlflow_access.uri(root)
    profile = whole.load(root / paths.PARAMS).profile
    if asked.why:
        own = registry.name_of(profile)
        _tell_why(_version(root, profile, asked.run) if asked.run else registry.with_alias(root, own, CHAMPION), own)
        return
    word = asked.run or CANDIDATE
    version = _version(root, profile, word)
    champion = registry.with_alias(root, version.name, CHAMPION)
    if champion is not None and (version.name, version.number) == (champion.name, champion.number):
        lost = "; the reason is not kept, since nothing was decided" if asked.by_hand else ""
        tell("result", f"version {version.number} is the champion already{lost}")
        return
    challenger = Challenger(version, _trainings(root, version, word))
    decision = _decision(root, champion, challenger, asked)
    if decision.compared is not None:
        print(printable(table([decision.compared])), flush=True)
    if asked.by_hand:
        tell("by hand", f"{asked.by_hand}{'' if decision.moves else f'; this overrides: {decision.why}'}")
    tags = _tags(champion, challenger, decision, asked.by_hand or "")
    _require_same_champion(root, version.name, champion)
    if not (decision.moves or asked.by_hand):
        registry.tag(root, version, _named(_ASKED, tags))
        tell("result", f"the champion stays{_which(champion)}: {decision.why}")
        for line in _missing(root, decision, champion, version):
            tell("", line)
        sys.exit(STAYS)
    _crown(root, version, tags)
    before = f"; version {champion.number}, run {_run_of(champion)}, was it before" if champion else ""
    why = decision.why if decision.moves else "by hand"
    tell("result", f"{version.name} version {version.number} is the champion{before}: {why}")


def _require_same_champion(root: Path, name: str, champion: Version | None) -> None:
    """Refuse a decision against a version that is not the champion any more: another process has moved the alias.

    Between this look and what follows there is a moment left. A lock would leave none on one machine, and all the
    time of a decision between two that use one server.

    Raises:
        ServiceUnavailable: MLflow cannot be asked.
        TemporaryFailure: the champion is another one.
    """
    now = registry.with_alias(root, name, CHAMPION)
    if (now and now.number) != (champion and champion.number):
        there, before = (_which(one).removeprefix(", ") or "none" for one in (now, champion))
        what = f"{name}: expected its champion to be the one that this was decided against, {before}; found {there}"
        raise TemporaryFailure(f"{what}: it was changed meanwhile, and nothing is done", "run the same command again")


def _which(champion: Version | None) -> str:
    return f", version {champion.number}, run {_run_of(champion)}" if champion else ""


def _crown(root: Path, version: Version, tags: Mapping[str, str]) -> None:
    """Give a version the alias, and then the tags that say so: they are never there without the alias.

    Raises:
        ServiceUnavailable: MLflow does not take the alias; or it took that, and not the tags, which the message says.
    """
    registry.crown(root, version)
    try:
        registry.tag(root, version, _named(_CROWNED, tags) | _named(_ASKED, tags))
    except ServiceUnavailable as error:
        what = f"{version.name} version {version.number} is the champion, but its tags do not say why: {error.what}"
        raise ServiceUnavailable(what, error.fix) from error


def tell(head: str, text: str) -> None:
    """Print a line for the user."""
    print(printable(hidden(f"{head:<{_WIDTH}}{text}")), flush=True)


def _arguments() -> argparse.Namespace:
    parser = Parser(
        prog="python -m flows.promote",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit codes: 0 it is the champion; 1 the champion stays; 69 MLflow cannot be asked; 75 it was moved "
        "meanwhile; 78 no such run.",
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="?",
        help="id or name of a run, or of one of make seeds, or the beginning of one (default: candidate, which is the "
        "newest run that has succeeded)",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--why", action="store_true", help="print the decision on RUN, by default on the champion")
    way.add_argument("--by-hand", metavar="REASON", help="promote it whatever the test says, which is kept with REASON")
    add_resampling(parser)
    asked = parser.parse_args()
    if asked.by_hand is not None and not asked.by_hand.strip():
        raise ConfigError("--by-hand: expected a reason, found nothing", "--by-hand 'why it is to be the champion'")
    return asked


def _version(root: Path, profile: str, word: str) -> Version:
    """The version that a word means: an alias, or a run; of a run of `make seeds` that of its first training.

    Raises:
        ConfigError: there is none.
    """
    if word in (CANDIDATE, CHAMPION):
        name = registry.name_of(profile)
        if (found := registry.with_alias(root, name, word)) is None:
            fix = "make run, or python -m flows.publish for results that are here"
            raise ConfigError(f"{word}: {name} has no version with this alias", fix)
        return found
    lookup.require_name(word)
    full = lookup.full_name(root, word)
    if full is None:
        raise ConfigError(f"{word}: no such MLflow run{lookup.did_you_mean(root, word)}", "make runs lists the runs")
    children = sorted(lookup.children(root, full), key=lambda one: _seed(root, one[0]))
    run = lookup.run(root, children[0][0] if children else full)
    digest = run.tags.get(published.TAG, "") if run else ""
    own = run.tags.get("profile", profile) if run else profile
    found = registry.of_results(root, own, digest) if digest else None
    if run is None or found is None:
        fix = "python -m flows.publish REV, with the commit or the folder of its results, registers it"
        raise ConfigError(f"{word}: its model is not in the registry: it was made before, or has no scores", fix)
    return found


def _seed(root: Path, run_id: str) -> int:
    run = lookup.run(root, run_id)
    seed = run.values.get("finetune", {}).get("seed") if run else None
    return seed if isinstance(seed, int) else 0


def _trainings(root: Path, version: Version, word: str = "") -> Group:
    """The trainings of a version's recipe that are known, first its own; of a run of `make seeds` those alone."""
    full = lookup.full_name(root, word) if word not in ("", CANDIDATE, CHAMPION) else None
    if full and lookup.children(root, full):
        return group.of_runs(full, find_all(full))
    own = replace(find_run(version.run_id), name=_run_of(version))
    return group.of_runs(own.name, [own, *trainings_of(own)])


def _decision(root: Path, champion: Version | None, challenger: Challenger, asked: argparse.Namespace) -> Decision:
    """What the test says, or that there is nothing to test against."""
    if champion is None:
        return Decision(True, "granted without a test, since there was no champion")
    try:
        trainings = _trainings(root, champion)
    except (ConfigError, DataError) as error:  # its run was deleted, such as by `mlflow gc`
        return Decision(False, f"the run of the champion, version {champion.number}, cannot be read: {error.what}")
    return promotion.decide(trainings, challenger.trainings, resamples=asked.resamples, seed=asked.seed)


def _missing(root: Path, decision: Decision, champion: Version | None, version: Version) -> Iterator[str]:
    """What would let a test decide that could not: the commands that train more seeds."""
    if decision.compared is None:
        return
    one = decision.compared.comparison
    for whose, trainings, which in (
        ("the champion's", one.trainings_a, champion),
        ("the candidate's", one.trainings_b, version),
    ):
        run = lookup.run(root, which.run_id) if which is not None else None
        if trainings < 2 and run is not None:
            command = f"python -m flows.seeds 5{original.options_of(root, run)}"
            yield f"it takes several trainings of {whose} recipe, at commit {run.commit[:7] or 'unknown'}: {command}"


def _tags(champion: Version | None, challenger: Challenger, decision: Decision, by_hand: str) -> dict[str, str]:
    """The decision and its numbers, for the version; each name is there, so that no earlier decision's value stays."""
    how = "promoted" if decision.moves else "by hand" if by_hand else "refused"
    found: dict[str, object] = {
        "decision": "first champion" if champion is None else how,
        "why": decision.why,
        "against": f"version {champion.number}, run {_run_of(champion)}" if champion else "",
        "by_hand": by_hand,
        "overrides": decision.why if by_hand and not decision.moves else "",
        "judge": challenger.trainings.runs[0].judge.name,
        "judge_fingerprint": challenger.trainings.runs[0].judge.fingerprint,
        "test_rows": promotion.test_rows_of(challenger.trainings.runs[0]),
        "trainings": counted(len(challenger.trainings.runs), "training"),
        **dict.fromkeys(_NUMBERS),
    }
    if decision.compared is not None:
        one = decision.compared.comparison
        numbers = (one.n, one.difference, one.low, one.high, one.p, one.test, one.method)
        found |= dict(zip(_NUMBERS, numbers, strict=True))
        found["trainings"] = f"{one.trainings_a} of the champion, {one.trainings_b} of the candidate"
    return {name: _shown(value) for name, value in found.items()}


def _run_of(version: Version) -> str:
    """The short name of a version's run."""
    return version.tags.get(registry.RUN, version.run_id)


def _named(prefix: str, tags: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}{name}": value for name, value in tags.items()}


def _shown(value: object) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _tell_why(version: Version | None, name: str) -> None:
    """Print how a version became champion, if it is that, and else the last decision on it.

    Raises:
        ConfigError: there is no champion yet.
    """
    if version is None:
        fix = "python -m flows.promote makes the newest run that has succeeded the first"
        raise ConfigError(f"{name} has no champion yet", fix)
    tell(
        "champion" if CHAMPION in version.aliases else "version",
        f"{version.name} version {version.number}, run {_run_of(version)}",
    )
    is_champion = CHAMPION in version.aliases
    prefix = _CROWNED if is_champion else _ASKED
    decided = {key.removeprefix(prefix): value for key, value in version.tags.items() if key.startswith(prefix)}
    for head, text in _in_words(decided):
        tell(head, text)
    if not decided:
        unknown = "not known: it has the alias champion, but no tags of python -m flows.promote"
        tell("decision", unknown if is_champion else "none: nobody has asked for its promotion")


def _in_words(decided: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """A decision for a person: heads and texts, without those that it lacks. Tags of earlier versions lack some."""
    value = {name: text for name, text in decided.items() if text}
    for name in ("decision", "why", "against", "by_hand", "overrides"):
        if name in value:
            yield name.replace("_", " "), value[name]
    if "difference" in value:
        low, high = (f"{float(value[end]):+z.1f}" if end in value else "" for end in ("ci95_low", "ci95_high"))
        ends = f" [{low}, {high}]" if low and high else ""
        p = f"; p {float(value['p']):.2g}" if "p" in value else ""
        yield "difference", f"{float(value['difference']):+z.1f} points{ends}, the candidate minus the champion{p}"
    if "test" in value:
        rows = f", on {counted(int(value['rows']), 'row')} scored in both" if "rows" in value else ""
        yield "test", value["test"] + rows
    if "trainings" in value:
        yield "trainings", value["trainings"]
    if fingerprint := value.get("judge_fingerprint") or value.get("judge"):
        named = f"{value['judge']}, " if "judge_fingerprint" in value else ""
        yield "judge", f"{named}fingerprint {fingerprint[:_DIGITS]}"
    if "test_rows" in value:
        yield "test rows", f"MD5 {value['test_rows'][:_DIGITS]}"


if __name__ == "__main__":
    set_defaults()
    program.run("promote", main)
