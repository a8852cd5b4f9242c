"""Whether the results of a commit come out again on this machine: `python -m flows.reproduce_check [REV] [--strict]`.

Each stage runs in a copy of the commit, by default the last one, and nothing is taken from a cache: a check that was
interrupted begins from scratch. Its outputs are compared with those that the commit's dvc.lock names. Sums are rounded
differently by different processors, so that a training may differ, and what follows from it. It ends with 1 where a
stage differs that computes with texts and whole numbers alone, or where any does and `--strict` asks for that.

DVC's cache has the new results afterwards: `dvc repro` and `make run` take them from there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flows import folder, workspace
from flows.again import data, original, outcome, preparation, rebuild
from flows.again.original import Original
from flows.again.preparation import WIDTH
from flows.rerun import DIFFERS, tell
from flows.tool_settings import set_defaults
from stages.common.plurals import counted
from stages.params.differences import differences
from stages.running import committed, history, lock, made_on, program, temporary
from stages.running.arguments import Parser
from stages.running.lock import Recorded
from stages.running.restore import put_back
from stages.running.tracking import tracker
from stages.running.tracking.listing import FIGURES, figures_in

#: The stages whose results are the same on every machine. The random weights of download are drawn from a seed.
EXACT = ("download", "split", "tokenize")


def main() -> None:
    """Make the results of a commit again, and compare them.

    Raises:
        ConfigError: there is no such commit.
        DataError: its dvc.lock names no results, or its data are gone.
        NotMade: a stage has failed.
        SystemExit: a stage differs that may not.
    """
    asked = _arguments()
    root = Path.cwd()
    folder.check(root, copied=True)
    found = original.of_commit(root, asked.rev, {})
    here = made_on.here()
    tell(f"{'commit':<{WIDTH}}{found.commit[:7]}, its {lock.LOCK} of {counted(len(found.outputs), 'stage')}")
    tell(
        f"{'machine':<{WIDTH}}{here['processor']}, {here['capability']} kernels, {counted(here['threads'], 'thread')}, "
        f"Python {here['python']}, torch {here['packages'].get('torch', 'unknown')}"
    )
    with workspace.at_commit(root, found.commit, log=tell, key=f"check-{found.commit}", resumes=False) as tree:
        then = _figures(tree, found)
        _tell_stale(root, found)
        order = preparation.prepare(tree, found, tell=tell)
        for _ in rebuild.made_again(root, tree, order, tell=tell, variables=tracker.stage_variables(None)):
            pass
        stages = outcome.compared(found, preparation.outputs_in(tree))
        for line in outcome.stage_lines(stages, then, figures_in(tree)):
            tell(line)
    tell(outcome.result_line(stages))
    wrong = [one.stage for one in stages if not one.equal and (asked.strict or one.stage in EXACT)]
    if wrong:
        sys.exit(DIFFERS)
    if not all(one.equal for one in stages):
        tell(f"{'':<{WIDTH}}a training may differ on another processor; {', '.join(EXACT)} may not, and do not")


def _arguments() -> argparse.Namespace:
    parser = Parser(
        prog="python -m flows.reproduce_check",
        description="Make the results of a commit again on this machine, and compare them with its dvc.lock.",
        epilog="Exit codes: 0 what must be equal is equal; 1 it is not; 65 dvc.lock names no results, or the data are "
        "gone; of a stage that fails its own.",
    )
    parser.add_argument("rev", metavar="REV", nargs="?", default="HEAD", help="the commit (default: the last one)")
    parser.add_argument("--strict", action="store_true", help="end with 1 where any stage differs")
    return parser.parse_args()


def _tell_stale(root: Path, found: Original) -> None:
    """Say where the dvc.lock of a commit is of other code or values than the commit has."""
    files = history.History(root).differing(found.commit, history.named_in(found.lock))
    made = Recorded.of_entries(found.lock).values
    there = {name: section for name, section in (committed.values(root, found.commit) or {}).items() if name in made}
    values = [key for key, _, _ in differences(made, there)]
    if changed := files + values:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        tell(f"{'stale':<{WIDTH}}{lock.LOCK} is of another version of {changed[0]}{more}; dvc repro, and commit it")


def _figures(tree: Path, found: Original) -> dict[str, float]:
    """The figures of a commit, where DVC's cache or a remote has their files; else none, which is said."""
    named = {path: stage for stage, outs in found.outputs.items() for path in outs if path in FIGURES}
    outs = [lock.Output(path, found.outputs[stage][path]) for path, stage in named.items()]
    why = "" if data.in_cache(outs) else data.fetch(tree, map(str, named))
    if not data.in_cache(outs):
        what = f"those of the commit are not in DVC's cache or a remote{why}: its hashes alone are compared"
        tell(f"{'figures':<{WIDTH}}{what}")
        return {}
    with temporary.folder() as at:
        put_back([(at / path, kept) for one in outs for path, kept in lock.files(one, name=found.name, fix="dvc pull")])
        return figures_in(at)


if __name__ == "__main__":
    set_defaults()
    program.run("reproduce_check", main)
