"""`python -m flows.seeds N [--profile NAME] [--set KEY=VALUE ...]`: N trainings of one recipe with different seeds.

They run in a copy of the last commit, as with `flows.run --set`, and differ in finetune.seed, which counts up from the
recipe's. All that does not depend on it is done once: the data, the split and the tokens by DVC, and the base model's
answers by the journal of answers. MLflow gets a run with a child for each training, and `stages.judge.runs.compare`
takes its name for all of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from flows import ahead, command_line, folder, profiles, run, workspace
from stages.common.printable import printable

DESCRIPTION = """
Train one recipe N times with different seeds, each in a copy of the last commit, and say how much the scores differ.
The project's folder stays as it is.
"""


def main() -> None:
    """Run the flow, which prints a line for each training, and what seeds do to the score."""
    asked = command_line.parse("python -m flows.seeds", DESCRIPTION, trainings="must be")
    run.end_with_make()
    root = Path.cwd()
    folder.check(root, copied=True)
    values = profiles.overlaid(root, asked.profile, asked.overrides)  # refuses wrong values before anything runs
    profiles.seeds_of(values, asked.trainings)
    workspace.check_commit(root)
    with ahead.planned(root, asked) as planned:
        planned.look()
    one = f"  the times are those of one of {asked.trainings} trainings; memory and disk are for one at a time"
    print(printable(one), flush=True)
    sys.exit(run.supervised())


if __name__ == "__main__":
    command_line.run(main)
