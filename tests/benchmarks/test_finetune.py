"""The benchmark's arithmetic, its arguments, and a run of it on a tiny model."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from benchmarks import contenders, finetune, ours, report, task
from benchmarks.clock import Clock
from benchmarks.results import Floor, Machine, Run, Spread, Timing, TrainingReport
from benchmarks.training import CONTENDERS
from stages.common.errors import ConfigError, PipelineError
from stages.common.records import read_metrics
from stages.common.results.tokenize import Encoded
from tests.root import ROOT

ARGUMENTS = ["--model", "tiny", "--device", "cpu", "--json", "out.json"]


def run(**changed):
    """What a contender might have measured: a warm-up step of 50 tokens, then 100 tokens in 2 s and 300 in 3 s."""
    measured = {
        "setup_s": 1.0,
        "warmup_s": [9.0],
        "step_s": [2.0, 3.0],
        "window_s": 5.0,
        "cores_of_others": 0.1,
        "tokens": [50, 100, 300],
        "losses": [4.0, 3.0, 2.0],
        "evaluation_s": [4.0],
        "peak_memory_bytes": 2**30,
    } | changed
    return Run(
        contender="ours",
        versions={},
        model_flops=10e12,
        timing=Timing(**measured),
        precision="bf16",
        evaluations=10,
        final_loss=1.5,
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark") / "task"
    task.make(folder, model="tiny", data=task.DATA, warmup=1, steps=2)
    return folder


def spread(median, low, high):
    return Spread(median=median, low=low, high=high)


def test_a_spread_has_the_median_between_the_smallest_and_the_largest():
    found = Spread.of([3.0, 1.0, 2.0])

    assert found == spread(2.0, 1.0, 3.0)
    assert found.text(".1f") == "2.0 (1.0–3.0)"


def test_tokens_per_second_leave_out_the_warm_up():
    assert run().timing.tokens_per_second == 80.0


def test_the_estimate_counts_steps_at_their_mean_and_every_evaluation():
    measured = run(step_s=[2.0, 2.0, 5.0], evaluation_s=[4.0, 3.0, 9.0])

    assert report.estimated_seconds(measured, total_steps=100) == 100 * 3.0 + 10 * 4.0


def test_a_contender_is_summed_up_over_its_repeats():
    summed = report.summary([run(), run(step_s=[4.0, 6.0], window_s=10.0)], total_steps=100, peak=4.0, floor=1.25)

    assert summed.tokens_per_s == spread(60.0, 40.0, 80.0)
    assert summed.step_s == spread(3.5, 2.0, 6.0)
    assert summed.model_tflops_per_s == spread(1.5, 1.0, 2.0)
    assert summed.mfu == spread(0.375, 0.25, 0.5)
    assert summed.share_of_floor == spread(0.375, 0.25, 0.5)  # 1.25 s of 2.5 s and of 5 s


def test_ratios_are_above_one_where_we_are_better_and_pair_the_repeats():
    ours = [run(), run(window_s=10.0)]
    peer = [run(window_s=20.0, peak_memory_bytes=3 * 2**30), run(window_s=20.0)]

    found = report.ratios(ours, peer, total_steps=100)

    assert found.tokens_per_s == spread(3.0, 2.0, 4.0)
    assert found.recipe == spread(1.0, 1.0, 1.0)
    assert found.memory == 3.0


MACHINE = Machine(
    cpu="a CPU",
    cores=2,
    threads=2,
    instructions=["avx2"],
    memory_gib=8.0,
    system="Linux",
    python="3.12",
    torch="2.13",
    tflops_per_s={"bf16": {"1024": 0.7, "4096": 0.8}, "fp32": {"1024": 0.2}},
)


FLOOR = Floor(products_s=0.3, bytes_s=0.2, products_tflops_per_s=1.5, bandwidth_gb_per_s=20.0)


def test_the_peak_is_the_fastest_product_of_any_dtype():
    assert MACHINE.peak_tflops == 0.8
    assert MACHINE.hardware == "2 cores of a CPU (avx2)"


def test_the_report_names_every_figure_that_the_readme_explains(tiny):
    given = task.read(tiny)

    said = report.tables(
        finetune.summed_up("cpu", given, MACHINE, FLOOR, {"ours": [run()], "book": [run()]}, {"trl": "why"})
    )

    readme = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    table = readme.split("| figure | what it means |")[1].split("\n\n")[0]
    explained = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[2:]]
    assert len(explained) == 10
    assert [figure for figure in explained if figure not in said] == []
    assert "| book | 1.00 (1.00–1.00) | 1.00 (1.00–1.00) | 1.00 |" in said
    assert "trl did not run: why" in said


def test_the_operations_of_a_row_worked_by_hand():
    # Two inputs, two layers of width 16: 12 * 2 * 256 + 50,257 * 16 weights, 2 * 2 * 16 * 2 * 3 for causal attention.
    row = Encoded(id="a", ids=[1, 2, 3], prompt_length=1)

    assert task.model_flops("tiny", [row]) == 3 * (2 * (6144 + 804112) * 2 + 384)


def test_the_book_s_two_epochs_are_225_teraflop():
    # 935 rows of 56.43 tokens, twice.
    rows = [Encoded(id="a", ids=list(range(57)), prompt_length=1)] * 1884  # 105,504 inputs

    assert task.model_flops("gpt2-medium", rows) / 1e12 == pytest.approx(225, abs=1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--peers", "book,nobody"], "unknown: nobody; there are book, "),
        (["--steps", "0"], "expected a whole number of at least 1, found '0'"),
        (["--warmup", "x"], "expected a whole number of at least 0, found 'x'"),
        (["--device", "tpu"], "invalid choice: 'tpu'"),
    ],
)
def test_wrong_arguments_are_told(changed, message, capsys):
    with pytest.raises(SystemExit) as ended:
        finetune.parser().parse_args([*ARGUMENTS, *changed])

    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_peers_are_named_once_and_may_be_none():
    parse = finetune.parser().parse_args

    assert parse([*ARGUMENTS, "--peers", "trl, book,trl"]).peers == ["trl", "book"]
    assert parse([*ARGUMENTS, "--peers", ""]).peers == []


def test_other_weights_at_the_start_are_an_error():
    finetune.check_same_start({"ours": [run()], "book": [run(losses=[4.01])]})
    with pytest.raises(PipelineError, match=r"first loss of book is 4\.2, ours 4\.0"):
        finetune.check_same_start({"ours": [run()], "book": [run(losses=[4.2])]})


def test_a_peer_that_is_not_installed_is_not_started():
    if importlib.util.find_spec("trl"):
        pytest.skip("trl is installed")

    assert (
        contenders.missing(CONTENDERS["trl"].packages) == "the package trl is not installed (pip install -e '.[bench]')"
    )
    assert contenders.missing(CONTENDERS["ours"].packages) is None


def test_the_recipe_is_the_book_s(tiny):
    recipe = task.read(tiny).recipe

    assert (recipe.batch_size, recipe.epochs, recipe.learning_rate, recipe.weight_decay) == (8, 2, 5e-5, 0.1)
    assert (recipe.schedule, recipe.clip_norm, recipe.eval_every) == ("constant", None, 29)


def test_batches_are_those_of_the_order_that_training_sees(tiny):
    given = task.read(tiny)

    assert [len(rows) for rows in given.batches()] == [8, 8, 8]
    assert len(given.order()) == 8 * given.total_steps
    assert [row for rows in given.batches() for row in rows] == given.order()[:24]


def test_data_or_steps_that_are_not_there_are_told(tmp_path):
    with pytest.raises(ConfigError, match=r"--data .*none\.json: no such file"):
        task.make(tmp_path / "a", model="tiny", data=tmp_path / "none.json", warmup=1, steps=1)
    with pytest.raises(ConfigError, match="--warmup 1 and --steps 9999 are more than the recipe's"):
        task.make(tmp_path / "b", model="tiny", data=task.DATA, warmup=1, steps=9999)


@pytest.mark.thorough
def test_we_and_transformers_train_on_the_same_rows_to_the_same_losses(tiny):
    huggingface = pytest.importorskip("benchmarks.huggingface", reason="transformers is not installed")
    given = task.read(tiny)
    mine = ours.train(given, tiny / "model", "cpu", Clock(given, "cpu"))
    theirs = [
        huggingface.train(given, tiny / "model", "cpu", Clock(given, "cpu"), padding_free=padding_free)
        for padding_free in (False, True)
    ]

    expected = [sum(len(row.ids) - 1 for row in rows) for rows in given.batches()]
    for trained in (mine, *theirs):
        timing = trained.timing
        assert timing.tokens == expected
        assert timing.losses == pytest.approx(mine.timing.losses, abs=2e-3)
        assert trained.final_loss == pytest.approx(mine.final_loss, abs=2e-3)
        assert len(timing.warmup_s) == 1
        assert len(timing.step_s) == 2
        assert sum(timing.step_s) == pytest.approx(timing.window_s)


@pytest.mark.slow
def test_the_program_writes_and_prints_its_report(tmp_path):
    options = [
        "--model",
        "tiny",
        "--device",
        "cpu",
        "--steps",
        "2",
        "--repeats",
        "2",
        "--peers",
        "book,transformers",
        "--json",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.finetune", *options, str(tmp_path / "r.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    found = read_metrics(tmp_path / "r.json", TrainingReport, made_by="the program")
    ran = {"ours", "book", "transformers"} - set(found.not_run)
    assert set(found.contenders) == set(found.runs) == ran
    assert set(found.ratios) == ran - {"ours"}
    assert {len(runs) for runs in found.runs.values()} == {2}
    assert found.machine.cores >= 1
    assert set(found.machine.tflops_per_s) == {"bf16", "fp32"}
    assert all(figures.peak_memory_bytes > 10**8 for figures in found.contenders.values())
    assert "| ours | " in done.stdout
    for name, why in found.not_run.items():
        assert f"{name} did not run: {why}" in done.stdout
