"""Right answers and their intervals, by numbers worked by hand and by simulation."""

import numpy as np
import pytest

from stages.common.results.judge import Verdict
from stages.judge.scores.right import bonett_price, right_answers, right_difference, wilson


def verdict(number, right, model="tuned", cluster=""):
    status, score = ("open", None) if right is None else ("scored", 100.0 * right)
    return Verdict(
        id=f"r{number}",
        model=model,
        status=status,
        score=score,
        detail="",
        right=right,
        cluster=cluster or f"c{number}",
    )


def test_one_right_answer_of_four_by_hand():
    """Student's quantile of 3 degrees of freedom is t = 3.18245, and t² = 10.128. Four rows, share 1/4: the middle is
    (0.25 + 10.128 / 8) / (1 + 10.128 / 4) = 0.42922, half the width 3.18245 / 3.53199 * sqrt(0.1875 / 4 + 10.128 / 64)
    = 0.40808. An open row does not count."""
    found = right_answers([verdict(1, True), *(verdict(n, False) for n in (2, 3, 4)), verdict(5, None)])
    assert (found.n, found.right, found.share) == (4, 1, 0.25)
    assert (found.interval.low, found.interval.high) == (0.0211, 0.8373)
    assert found.interval.method == "Wilson, 4 instructions of 4.0 independent rows"


def test_two_rows_gained_of_four_by_hand():
    """One more gained and one more lost row than there are, of two more rows: 3/6 - 1/6 = 0.33333, half the width
    3.18245 * sqrt((3/6 + 1/6 - 1/9) / 6) = 0.96839; the upper end is cut off at 1."""
    tuned = [verdict(1, True), verdict(2, True), verdict(3, False), verdict(4, True), verdict(5, True)]
    base = [verdict(n, n == 4, "base") for n in (1, 2, 3, 4)] + [verdict(5, None, "base")]
    found = right_difference(tuned, base)
    assert (found.n, found.gained, found.lost, found.difference) == (4, 2, 0, 0.5)
    assert (found.interval.low, found.interval.high) == (-0.6351, 1.0)


def test_rows_of_one_instruction_count_as_one_where_they_agree():
    """Two instructions with two rows each that agree: two independent rows."""
    values = np.array([1.0, 1.0, 0.0, 0.0])
    assert wilson(values, ["a", "a", "b", "b"]).method.endswith("2 instructions of 1.3 independent rows")
    apart = wilson(values, ["a", "b", "c", "d"])
    together = wilson(values, ["a", "a", "b", "b"])
    assert together.high - together.low > apart.high - apart.low


def test_all_right_has_a_width_and_one_instruction_no_interval():
    found = wilson(np.ones(5), ["a", "b", "c", "d", "e"])
    assert found.high == pytest.approx(1.0)
    assert 0.3 < found.low < 0.6
    assert wilson(np.ones(5), ["a"] * 5).low is None
    assert wilson(np.ones(5), ["a"] * 5).method == "none: 1 of the 2 instructions that it takes"
    assert bonett_price(np.zeros(3), ["a"] * 3).low is None


def test_a_judge_that_does_not_say_which_are_right_has_no_figure():
    graded = [verdict(1, True).model_copy(update={"right": None})]
    assert right_answers(graded) is None
    assert right_difference(graded, graded) is None


@pytest.mark.parametrize(("rows", "size", "agree"), [(8, 1, 0.0), (20, 1, 0.0), (139, 1, 0.0), (60, 3, 0.5)])
def test_coverage(rows, size, agree):
    """Of 400 draws, the intervals hold the true share and the true difference in 93 % and more; few rows are safe."""
    random = np.random.default_rng(5)
    clusters = [str(number // size) for number in range(rows)]

    def draw(share):
        common = np.repeat(random.random(-(-rows // size)) < share, size)[:rows]
        return np.where(random.random(rows) < agree**0.5, common, random.random(rows) < share).astype(float)

    for before, after in ((0.0, 0.3), (0.3, 0.4), (0.1, 0.9)):
        held = differences = 0
        for _ in range(400):
            base, tuned = draw(before), draw(after)
            share, difference = wilson(tuned, clusters), bonett_price(tuned - base, clusters)
            held += share.low - 1e-9 <= after <= share.high + 1e-9
            differences += difference.low <= after - before <= difference.high
        assert min(held, differences) >= 0.93 * 400


def test_a_row_lost_of_two_by_hand():
    """Two instructions have Student's t of one degree of freedom, 12.7062: 1/4 - 2/4, half the width 12.7062 *
    sqrt((3/4 - 1/16) / 4) = 5.27; both ends are cut off."""
    found = right_difference(
        [verdict(1, False), verdict(2, True)], [verdict(1, True, "base"), verdict(2, True, "base")]
    )
    assert (found.n, found.gained, found.lost, found.difference) == (2, 0, 1, -0.5)
    assert (found.interval.low, found.interval.high) == (-1.0, 1.0)
    assert found.interval.method == "Bonett and Price, 2 instructions of 2.0 independent rows"


def test_three_instructions_that_are_all_right_count_for_less_than_three_rows():
    """With one right and one wrong instruction more, shares 1, 1, 1, 1 and 0 of two rows each: residuals 0.4, four
    times, and -1.6, a squared error of 5/4 * 3.2 / 100 = 0.04, which is 2.5 times that of ten rows, 0.16 / 10."""
    found = wilson(np.ones(6), ["a", "a", "b", "b", "c", "c"])
    assert found.method == "Wilson, 3 instructions of 2.4 independent rows"  # 6 / 2.5


def test_rows_of_an_instruction_that_disagree_count_almost_by_themselves():
    """Residuals 1 and -1 of four instructions, two of them added, and none of four: 8/7 * 4 / 256 = 0.017857, beside
    0.25 / 16: 1.142857 times."""
    values = np.array([1.0, 1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1])
    found = wilson(values, [name for name in "abcdef" for _ in range(2)])
    assert found.method == "Wilson, 6 instructions of 10.5 independent rows"  # 12 / 1.142857
