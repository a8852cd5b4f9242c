"""How much trainings of one recipe differ, in words and as JSON."""

import json
import sys

import numpy as np
import pytest

from stages.common.errors import ConfigError
from stages.judge.runs import spread as program
from stages.judge.runs.group import Group
from stages.judge.runs.spread import spread_of, table
from tests.judge.runs.test_group import training, write

#: Twelve rows around three means, which all trainings share but for the means.
SHAPE = [-10, 10, -8, 8, -6, 6, -4, 4, -2, 2, -1, 1]


def trainings(*means):
    return tuple(
        training(f"run-{seed}", scores=[mean + one for one in SHAPE], seed=seed) for seed, mean in enumerate(means, 1)
    )


def test_the_spread_by_hand():
    """Means 48, 50 and 52: their variance is 4, of which the rows explain nothing."""
    found = spread_of(Group("x", trainings(48, 50, 52)))
    assert [(one.name, one.seed, one.mean) for one in found.trainings] == [
        ("run-1", 1, 48),
        ("run-2", 2, 50),
        ("run-3", 3, 52),
    ]
    assert (found.n, found.clusters, found.mean) == (12, 12, 50)
    assert (found.seeds.sd, found.seeds.sd_beyond_rows) == (pytest.approx(2), pytest.approx(2))
    error = np.sqrt(np.square(SHAPE).sum() / 11 / 12 + 4 / 3)
    assert 1.96 * error < 50 - found.low == pytest.approx(found.high - 50)
    assert table(found)[:4] == [
        "trainings   seed 1    48.0 of 100 points   run-1",
        "            seed 2    50.0 of 100 points   run-2",
        "            seed 3    52.0 of 100 points   run-3",
        f"mean        50.0 of 100 points [{found.low:.1f}, {found.high:.1f}], 95 % interval over seeds and "
        "instructions, on 12 rows of 12 instructions",
    ]
    assert table(found)[4] == (
        "seeds       trainings differ by 2.0 points (standard deviation), by 2.0 beyond what these rows explain"
    )
    assert table(found)[5] == "detectable  not known: it takes four trainings of each recipe"


def test_a_mean_near_an_end_of_the_scale_has_no_interval_beyond_it():
    """Two trainings have one degree of freedom: Student's t is 12.7, and the means differ by 4 points."""
    near = (training("a", scores=[4, *[0] * 11], seed=1), training("b", scores=[8, *[4] * 11], seed=2))
    found = spread_of(Group("x", near))
    assert found.mean == pytest.approx(28 / 12)
    assert found.low == 0
    assert 10 < found.high < 100
    assert "mean        2.3 of 100 points [0.0, " in "\n".join(table(found))


def test_with_few_instructions_there_is_no_interval():
    found = spread_of(Group("x", (training("a", scores=[1, 2, 3], seed=1), training("b", scores=[2, 3, 4], seed=2))))
    assert (found.low, found.high, found.detectable) == (None, None, None)
    assert table(found)[2] == (
        "mean        2.5 of 100 points, no interval: 3 of the 10 instructions that it takes, "
        "on 3 rows of 3 instructions"
    )
    assert len(table(found)) == 4


def test_where_no_answer_is_right_there_is_no_interval():
    found = spread_of(Group("x", tuple(training(str(seed), scores=[0] * 12, seed=seed) for seed in (1, 2))))
    assert (found.low, found.high, found.detectable) == (None, None, None)
    assert table(found)[2] == (
        "mean        0.0 of 100 points, no interval: the scores do not vary, on 12 rows of 12 instructions"
    )


@pytest.mark.parametrize(
    "runs", [trainings(50), (training("a", scores=[1], seed=1), training("b", scores=[2], seed=2))]
)
def test_one_training_or_one_instruction_has_no_spread(runs):
    with pytest.raises(ConfigError, match="that all have: expected two of each at least"):
        spread_of(Group("x", runs))


def test_what_is_printed_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seed, mean in ((1, 48), (2, 52)):
        write(tmp_path / f"seed-{seed}", seed, [mean + one for one in SHAPE])
    monkeypatch.setattr(sys, "argv", ["spread", "seed-*", "--json", "found.json"])
    program.main()
    assert capsys.readouterr().out.startswith("trainings   seed 1    48.0 of 100 points   seed-1\n")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["trainings"][1] == {"name": "seed-2", "seed": 2, "mean": 52.0}
    assert found["seeds"] == {
        "sd": pytest.approx(2.828427),
        "sd_beyond_rows": pytest.approx(2.828427),
        "trainings": 2,
        "freedom": 1,
    }
