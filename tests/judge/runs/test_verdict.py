"""The verdict on two groups of runs: what it says, and what it rests on."""

import numpy as np
import pytest
from matplotlib.axes import Axes

from stages.common.errors import ConfigError
from stages.common.metrics.judge import JudgeIdentity
from stages.common.results.judge import Verdict
from stages.judge.runs.comparison import Comparison
from stages.judge.runs.group import Group
from stages.judge.runs.plot import plot
from stages.judge.runs.results import as_file, compare_groups
from stages.judge.runs.sources import Run
from stages.judge.runs.table import table
from stages.judge.runs.verdict import decide

JUDGE = JudgeIdentity(fingerprint="1" * 32, backend="reference")
ROWS = 40


def values(seed, epochs):
    sections = {name: {"a": 1} for name in ("download", "split", "tokenize", "generate")}
    return {**sections, "finetune": {"seed": seed, "epochs": epochs}}


def training(seed, scores, *, epochs=6, judge=JUDGE, model="", known=True):
    rows = [
        Verdict(id=f"r{index}", model=answered, status="scored", score=float(score), detail="", cluster=f"c{index}")
        for index, score in enumerate(scores)
        for answered in ("base", "tuned")
    ]
    return Run(f"seed {seed}", judge, rows, values(seed, epochs) if known else {}, model)


def trainings(seeds, *means, epochs=6, noise=1):
    """Trainings with these means, whose scores on the rows go up and down around them."""
    shape = np.random.default_rng(0).normal(0, 3, ROWS)
    shape -= shape.mean()
    found = []
    for seed, mean in zip(seeds, means, strict=True):
        own = np.random.default_rng([seed, epochs]).normal(0, noise, ROWS)
        found.append(training(seed, mean + shape + own - own.mean(), epochs=epochs))
    return tuple(found)


def compared(a, b, model="tuned"):
    return decide(a, b, model=model, resamples=500, seed=1)


def said(found: Comparison):
    return f"{found.verdict}; {found.rests_on}"


def test_two_single_runs_are_not_told_to_be_better():
    a, b = trainings([1], 50), trainings([2], 60, epochs=3)
    assert said(compared(Group("a", a), Group("b", b))) == (
        "B scores higher; one training each: training seeds are not allowed for"
    )
    assert compared(Group("b", b), Group("a", a)).verdict == "A scores higher"


def test_two_trainings_of_one_recipe_are_told_to_be_that():
    a, b = trainings([1, 2], 50, 60)
    found = compared(Group("a", (a,)), Group("b", (b,)))
    assert said(found) == "B scores higher; both are of one recipe: only training seeds differ"


def test_the_same_trained_model_needs_no_allowance_for_its_seed():
    """As where only the decoding or the judge's seed differs."""
    a, b = trainings([1, 1], 50, 60)
    one = [Group("x", (Run(run.name, run.judge, run.verdicts, run.values, "5d.dir"),)) for run in (a, b)]
    found = compared(*one)
    assert said(found) == "B is better; one and the same training, so that its seed plays no part"


def test_models_before_fine_tuning_have_no_training_seed():
    a, b = trainings([1, 2], 50, 60)
    found = compared(Group("a", (a,)), Group("b", (b,)), model="base")
    assert found.verdict == "B is better"
    assert found.rests_on == "the models before fine-tuning, in which no training seed plays a part"


def test_groups_that_lie_apart_are_better_and_the_interval_allows_for_seeds():
    a = Group("a", trainings([1, 2, 3, 4], 50, 51, 49, 50))
    b = Group("b", trainings([1, 2, 3, 4], 60, 61, 59, 60, epochs=3))
    found = compared(a, b)
    assert said(found) == "B is better; it rests on 4 and 4 trainings, and allows for training seeds and for rows"
    assert (found.trainings_a, found.trainings_b, found.n) == (4, 4, ROWS)
    assert found.difference == pytest.approx(10)
    assert found.seeds.sd == pytest.approx(np.sqrt(2 / 3))
    assert (found.seeds.trainings, found.seeds.freedom) == (8, 6)
    assert (found.seeds.sd_a, found.seeds.sd_b) == (pytest.approx(np.sqrt(2 / 3)),) * 2
    assert found.test == "Student's t over seeds and instructions"
    assert found.p < 0.001
    assert 8 < found.low < 10 < found.high < 12
    assert found.detectable < 3.5


def test_a_difference_below_the_noise_of_seeds_is_none_although_every_row_shows_it():
    """B is 2 points better on each row; but one more training of either recipe is 4 points away."""
    a = Group("a", trainings([1, 2, 3], 46, 50, 54))
    b = Group("b", trainings([1, 2, 3], 48, 52, 56, epochs=3))
    found = compared(a, b)
    assert found.verdict == "no detectable difference"
    assert found.p > 0.5
    assert compared(Group("a", a.runs[:1]), Group("b", b.runs[:1])).p < 0.01
    assert found.low < 0 < found.high
    assert found.detectable is None
    assert "detectable  not known: it takes four trainings of each recipe" in shown(a, b)


def test_four_trainings_a_side_know_what_they_would_find():
    a = Group("a", trainings([1, 2, 3, 4], 46, 50, 54, 50))
    b = Group("b", trainings([1, 2, 3, 4], 48, 52, 56, 52, epochs=3))
    assert compared(a, b).detectable > 7


def test_of_two_trainings_a_side_only_a_large_difference_is_found():
    """One degree of freedom a side: Student's t is 12.7. Standard deviations of 0.14 and 4.2 points."""
    a = Group("a", trainings([1, 2], 50, 50.2))
    b = Group("b", trainings([1, 2], 60, 60.2, epochs=3))
    assert compared(a, b).verdict == "B is better"
    wide = compared(Group("a", trainings([1, 2], 47, 53)), Group("b", trainings([1, 2], 57, 63, epochs=3)))
    assert wide.verdict == "no detectable difference"


def test_a_recipe_that_varies_more_is_not_called_better_by_the_other_s_small_noise():
    """Five trainings of A differ by 0.1 points and two of B by 6: B's mean of 57 says little."""
    a = Group("a", trainings([1, 2, 3, 4, 5], 50, 50.1, 49.9, 50, 50))
    b = Group("b", trainings([1, 2], 60, 54, epochs=3))
    found = compared(a, b)
    assert found.verdict == "no detectable difference"
    assert (found.seeds.sd_a, found.seeds.sd_b) == (pytest.approx(0.0707, abs=1e-4), pytest.approx(4.2426, abs=1e-4))
    assert "(standard deviation; A 0.1, B 4.2)" in " ".join(shown(a, b).split())


def test_the_test_is_the_same_for_one_and_for_several_comparisons():
    """And where several are made, `detectable` is that of the same test at 5 % / 3."""
    a = Group("a", trainings([1, 2, 3, 4], 50, 51, 49, 50))
    b = Group("b", trainings([1, 2, 3, 4], 52, 53, 51, 52, epochs=3))
    alone, of_three = (decide(a, b, model="tuned", resamples=500, seed=1, together=count) for count in (1, 3))
    assert (alone.p, alone.test, alone.low) == (of_three.p, of_three.test, of_three.low)
    assert alone.detectable < of_three.detectable


@pytest.mark.parametrize("status", ["open", "invalid", "failed"])
def test_a_run_without_a_score_is_refused_and_no_comparison(status):
    a, b = trainings([1, 2], 50, 51)
    nothing = [
        verdict.model_copy(update={"status": status, "score": None}) if verdict.model == "tuned" else verdict
        for verdict in b.verdicts
    ]
    empty = Run("empty", JUDGE, nothing, b.values)
    with pytest.raises(ConfigError, match=f"empty: expected verdicts with a score .* found none: 40 {status}"):
        compared(Group("a", (a,)), Group("b", (empty,)))


def test_both_recipes_with_other_trainings_need_not_vary_alike():
    a, b = trainings([1, 2, 3], 50, 51, 49), trainings([1, 2, 3], 90, 91, 89, epochs=3)
    found = compared(Group("a", a[:1], known=a[1:]), Group("b", b[:1], known=b[1:]))
    assert said(found) == "B is better; it allows for rows and for training seeds, as 6 trainings show them"


def test_a_single_training_only_scores_higher_above_the_noise_that_the_other_recipe_s_trainings_show():
    a, *others = trainings([1, 2, 3, 4], 50, 46, 54, 49)
    near, far = trainings([1], 55, epochs=3) + trainings([1], 75, epochs=3)
    group = Group("a", (a,), known=tuple(others))
    found = compared(group, Group("b", (near,)))
    assert found.verdict == "no detectable difference"
    assert found.basis == "seeds of one recipe"
    assert found.rests_on == (
        "a single training of one recipe: training seeds are allowed for as 4 trainings of the other show them, "
        "if both recipes vary alike"
    )
    assert found.p > 0.05
    assert found.seeds.sd == pytest.approx(np.std([50, 46, 54, 49], ddof=1))
    assert compared(group, Group("b", (far,))).verdict == "B scores higher"
    assert compared(Group("b", (far,)), group).verdict == "A scores higher"
    assert compared(Group("b", (near,)), group).difference == pytest.approx(-5)


def test_several_trainings_against_a_single_one_are_never_better():
    several, single = trainings([1, 2, 3, 4], 50, 51, 49, 50), trainings([1], 80, epochs=3)
    found = compared(Group("a", several), Group("b", single))
    assert (found.verdict, found.basis) == ("B scores higher", "seeds of one recipe")
    assert compared(Group("b", single), Group("a", several)).verdict == "A scores higher"
    second = trainings([2], 81, epochs=3)
    assert compared(Group("a", several), Group("b", single, known=second)).verdict == "B is better"


def test_the_noise_behind_two_trainings_of_one_recipe_is_that_of_the_others():
    a, b, *others = trainings([1, 2, 3, 4, 5], 50, 53, 46, 54, 50)
    found = compared(Group("a", (a,), known=(b, *others)), Group("b", (b,), known=(a, *others)))
    assert found.basis == "one recipe"
    assert found.seeds.trainings == 3
    assert found.verdict == "no detectable difference"


def test_a_recipe_is_not_better_than_itself_whatever_a_test_finds():
    a, b = Group("a", trainings([1, 2, 3, 4], 50, 51, 49, 50)), Group("b", trainings([5, 6, 7, 8], 60, 61, 59, 60))
    assert said(compared(a, b)) == "B scores higher; both are of one recipe: only training seeds differ"


def test_scores_of_two_judges_have_no_winner():
    other = JudgeIdentity(fingerprint="2" * 32, backend="reference")
    a = Group("a", (training(1, range(ROWS)),))
    b = Group("b", (training(2, range(20, 20 + ROWS), judge=other),))
    found = compared(a, b)
    assert (found.verdict, found.p, found.low, found.detectable) == ("not comparable: two judges", None, None, None)
    assert "result      not comparable: two judges\n" in shown(a, b) + "\n"
    assert "fingerprint" not in shown(a, b)
    assert "judges      they differ in their version; score both runs by one judge" in shown(a, b)


def on(rows, judge=JUDGE):
    """A run with a score of 50 on rows with these numbers."""
    verdicts = [
        Verdict(id=f"r{index}", model="tuned", status="scored", score=50.0, detail="", cluster=f"c{index}", faults=[])
        for index in rows
    ]
    return Group("x", (Run("x", judge, verdicts, values(1, 6)),))


def judge_of(train_rows, **fields):
    """The built-in judge, which reads the train rows."""
    identity = {"backend": "reference", "measure_version": "1", "train_rows": train_rows} | fields
    return JudgeIdentity(fingerprint=f"{hash(str(identity)) % 16**32:032x}", **identity)


def test_runs_of_other_test_rows_are_not_comparable():
    """Eleven rows each, of which five are in both: fewer than half."""
    a, b = on(range(11)), on(range(6, 17))
    found = compared(a, b)
    assert (found.basis, found.verdict) == ("other test rows", "not comparable: other test rows")
    assert found.rests_on == "5 rows are in both, 6 in A alone, 6 in B alone"
    assert (found.mean_a, found.mean_b, found.difference, found.p, found.right_of) == (None,) * 5
    assert shown(a, b).splitlines()[2:] == [
        "rows        5 scored in both, of 5 instructions; left out: 6 in A alone, 6 in B alone",
        "result      not comparable: other test rows; 5 rows are in both, 6 in A alone, 6 in B alone",
    ]
    # With one more in both it is half of them; of a part of the other's rows all are in both.
    assert compared(on(range(12)), on(range(6, 18))).verdict == "identical scores"
    assert compared(on(range(100)), on(range(20))).verdict == "identical scores"
    # Ten instructions in both are enough, however many others there are; nine are not.
    assert compared(on(range(100)), on(range(90, 200))).verdict == "identical scores"
    assert compared(on(range(100)), on(range(91, 200))).verdict == "not comparable: other test rows"


def test_a_judge_that_has_read_other_train_rows_is_another_one_on_the_same_test_rows_alone():
    first, second = judge_of("1"), judge_of("2")
    other, newer = judge_of("2", backend="ollama"), judge_of("2", measure_version="2")
    rows, others = range(20), range(20, 40)
    assert compared(on(rows, first), on(others, second)).verdict == "not comparable: other test rows"
    assert compared(on(rows, first), on(rows, second)).verdict == "not comparable: two judges"
    assert compared(on(rows, first), on(range(1, 21), second)).verdict == "not comparable: two judges"
    assert compared(on(rows, first), on(range(1, 21), other)).verdict == "not comparable: two judges"
    for judge in (other, newer):
        said = "not comparable: other test rows, and two judges"
        assert compared(on(rows, first), on(others, judge)).verdict == said
    assert "judges " not in shown(on(rows, first), on(others, second))
    assert "judges      backend reference / ollama; train_rows 1 / 2; score both" in shown(
        on(rows, first), on(others, other)
    )


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_too_few_instructions_give_no_verdict_over_seeds(rows):
    a = Group("a", (training(1, range(rows)), training(2, range(rows))))
    b = Group("b", (training(1, range(50, 50 + rows), epochs=3), training(2, range(51, 51 + rows), epochs=3)))
    found = compared(a, b)
    assert found.verdict in ("too few rows to compare",) if rows > 1 else True
    assert (found.low, found.high, found.p, found.detectable) == (None, None, None, None)


def test_trainings_that_never_differ_leave_the_rows_to_decide():
    a = Group("a", (training(1, [50] * ROWS), training(2, [50] * ROWS)))
    b = Group("b", (training(1, [60] * ROWS, epochs=3), training(2, [60] * ROWS, epochs=3)))
    found = compared(a, b)
    assert (found.verdict, found.seeds.sd) == ("B is better", 0)
    assert compared(a, a).verdict == "identical scores"


def test_rows_that_one_training_lacks_are_left_out():
    a = Group("a", (training(1, range(ROWS)), training(2, range(ROWS - 5))))
    b = Group("b", (training(1, range(ROWS), epochs=3), training(2, range(ROWS), epochs=3)))
    found = compared(a, b)
    assert (found.n, found.only_in_a, found.only_in_b) == (ROWS - 5, 5, 5)


def shown(a, b):
    return table(compare_groups([a, b], model="tuned", resamples=500, seed=1))


def test_groups_are_shown_with_their_seeds_and_what_their_recipes_differ_in():
    a = Group("small", trainings([1, 2, 3, 4], 50, 51, 49, 50), notes=("x is left out",))
    b = Group("large", trainings([7, 8, 9, 10], 60, 61, 59, 60, epochs=3))
    lines = shown(a, b).splitlines()
    assert lines[:7] == [
        "A small",
        "B large",
        "trainings A 4 runs of one recipe, seeds 1, 2, 3, 4",
        "note        A: x is left out",
        "trainings B 4 runs of one recipe, seeds 7, 8, 9, 10",
        "recipes     finetune.epochs 6 / 3",
        "rows        40 scored in all runs, of 40 instructions",
    ]
    assert lines[8].endswith("], 95 % interval over seeds and instructions")
    text = " ".join(" ".join(lines).split())
    assert (
        "seeds 8 trainings of one recipe each differ by 0.8 points (standard deviation; A 0.8, B 0.8), "
        "by 0.8 beyond what these rows explain"
    ) in text
    assert "p 0.0004 (Student's t over seeds and instructions)" in text
    assert "recipes     A and B are of one recipe" in shown(a, Group("more", trainings([5, 6], 50, 51)))


def test_the_result_names_the_run_that_it_speaks_of_and_the_picture_has_no_letters(tmp_path, monkeypatch):
    labels = []
    monkeypatch.setattr(Axes, "set_yticks", lambda _, ticks, texts, **more: labels.extend(texts))
    low, high = Group("calm-otter", trainings([1], 50)), Group("dizzy-moth", trainings([1], 60, epochs=3))
    for a, b in ((low, high), (high, low)):
        plot(tmp_path / "one.png", compare_groups([a, b], model="tuned", resamples=500, seed=1))
    assert "result      B scores higher: dizzy-moth; one training each" in shown(low, high)
    assert "result      A scores higher: dizzy-moth; one training each" in shown(high, low)
    assert labels == [
        "dizzy-moth\nfinetune.epochs 6 / 3\nhigher than there",
        "calm-otter\nfinetune.epochs 3 / 6\nlower than there",
    ]


def test_no_p_value_is_written_as_0():
    a = Group("a", trainings([1, 2, 3, 4, 5, 6], *[50] * 6, noise=0.1))
    b = Group("b", trainings([1, 2, 3, 4, 5, 6], *[90] * 6, epochs=3, noise=0.1))
    (entry,) = as_file(compare_groups([a, b], model="tuned", resamples=500, seed=1), "tuned").comparisons
    found = entry.model_dump()
    assert found["p"] == found["p_holm"] == 1e-6
    assert found["b"]["seeds"] == [1, 2, 3, 4, 5, 6]
