"""What the parts are given: sizes, rows, answers; and tiny runs of them."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.child import ChildFailed
from benchmarks.scaling import __main__ as program
from benchmarks.scaling import data_parts, stage_runs, training_parts
from benchmarks.scaling.__main__ import one_part
from stages.common.errors import ConfigError, DataError, PipelineError
from stages.gpt2.model import GPT2, GPT2Config
from stages.running.costs import TrainingCosts


def test_rows_are_thousands_times_ten_up_to_the_most() -> None:
    assert program.tens(1000) == [1000]
    assert program.tens(100_000) == [1000, 10_000, 100_000]
    assert program.tens(999_999) == [1000, 10_000, 100_000]


def test_brief_leaves_the_largest_size_out_of_all_but_processes() -> None:
    brief = program.parts_of(program.parser().parse_args(["--brief"]))
    given = {name: next(iter(part.keywords.values())) for name, part in brief.items()}  # type: ignore[attr-defined]

    assert given == {
        "processes": (1, 2, 4),
        "rows": [1000, 10_000],
        "context": (64, 128, 256, 512),
        "model": ("tiny", "quick", "gpt2"),
        "judging": (200, 2000),
    }


def test_parts_are_chosen_by_name() -> None:
    assert list(program.parts_of(program.parser().parse_args(["--only", "rows,model"]))) == ["rows", "model"]
    with pytest.raises(ConfigError, match="unknown: row; there are processes, rows, context, model, judging"):
        program.parser().parse_args(["--only", "row"])


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "performance.md").write_text("no marks")
    with pytest.raises(DataError, match="once each"):
        program.main(["--docs", str(tmp_path)])
    with pytest.raises(DataError, match=r"performance\.md"):
        program.main(["--docs", str(tmp_path / "nowhere")])


def test_a_file_for_the_figures_whose_folder_is_missing_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        program.main(["--only", "rows", "--json", str(tmp_path / "nowhere" / "found.json")])


@pytest.mark.parametrize(("layers", "heads", "width"), training_parts.SIZES.values())
def test_parameters_are_those_of_the_model(layers: int, heads: int, width: int) -> None:
    import torch

    with torch.device("meta"):
        model = GPT2(GPT2Config(layers, heads, width, 1024))

    assert training_parts.parameters(layers, width, 1024) == sum(one.numel() for one in model.parameters())


def test_the_parameters_of_gpt2_are_the_published_ones() -> None:
    assert training_parts.parameters(12, 768, 1024) == 124_439_808
    assert training_parts.parameters(24, 1024, 1024) == 354_823_168


def test_long_rows_have_as_many_words_as_tokens_are_asked_for() -> None:
    found = list(training_parts.long_rows(3, 200))

    assert len(found) == 3
    assert all(len(row["output"].split()) >= 200 for row in found)
    assert len({row["output"] for row in found}) == 3


def test_shares_give_the_rows_that_are_asked_for() -> None:
    assert data_parts.shares(train=90, test=5, val=5) == {"train": 0.9, "test": 0.05}


def costs(**changed: object) -> TrainingCosts:
    values = dict.fromkeys(TrainingCosts.model_fields, 0) | {"history": "", "device": "cpu", "precision": "fp32"}
    values |= {"hfu": None, "estimated_seconds": None, "seconds_to_first_step": None}
    return TrainingCosts.model_validate(values | changed)


def test_seconds_of_a_step_are_its_tokens_over_the_speed() -> None:
    # 4 steps of 500 tokens, 250 tokens a second.
    found = costs(steps=4, useful_tokens=2000, tokens_per_second=250.0)

    assert stage_runs.seconds_a_step(found) == 2.0
    with pytest.raises(PipelineError, match="a training of 1 steps tells no speed"):
        stage_runs.seconds_a_step(costs(steps=1, useful_tokens=500, tokens_per_second=None))


def test_the_memory_of_a_process_and_its_child_is_counted_together() -> None:
    script = "import subprocess, sys; held = bytearray(60 << 20); code = sys.argv[1]; "
    script += "subprocess.run([sys.executable, '-c', code])"
    inner = "import time; held = bytearray(50 << 20); print('there', flush=True); time.sleep(60)"
    process = psutil.Popen([sys.executable, "-c", script, inner], stdout=-1)
    try:
        assert process.stdout.readline() == b"there\n"
        assert 110 << 20 < stage_runs.memory_of_all(process.pid) < 200 << 20
    finally:
        for one in [*process.children(recursive=True), process]:
            one.kill()
        process.stdout.close()
        process.wait()
    assert stage_runs.memory_of_all(process.pid) == 0


@pytest.mark.thorough
def test_a_stage_that_fails_is_told_with_its_message(tmp_path: Path) -> None:
    folder = stage_runs.make_folder(tmp_path / "project", [], {})

    with pytest.raises(ChildFailed, match=r"stages\.download: exit code \d+: .*rows\.jsonl"):
        stage_runs.run("download", folder)


@pytest.mark.thorough
def test_no_stage_is_left_behind_where_the_measuring_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stage_runs.make_folder(tmp_path / "project", itertools.islice(training_parts.long_rows(40, 20), 40), {})

    def interrupted(pid: int, *, several: bool) -> tuple[int, int, int]:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage_runs, "_waited", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage_runs.run("download", folder)

    assert [one for one in psutil.Process().children() if "stages.download" in one.cmdline()] == []


@pytest.mark.slow
def test_rows_are_measured_stage_by_stage(tmp_path: Path) -> None:
    part = one_part("rows", lambda folder: data_parts.rows(folder, [200, 400]))

    assert [(point.series, point.size) for point in part.points] == [
        (stage, size) for stage in ("download", "split", "tokenize", "finetune") for size in (200, 400)
    ]
    assert all(point.seconds > 0 and point.peak_bytes > 20 << 20 for point in part.points)
    assert part.seconds > sum(point.seconds for point in part.points)


@pytest.mark.slow
def test_answers_are_judged_by_both_judges(tmp_path: Path) -> None:
    points, left_out = data_parts.judging(tmp_path / "judging", [10])

    assert [(point.series, point.size) for point in points] == [("reference judge", 10), ("Ollama stand-in", 10)]
    assert left_out == []
    verdicts = (tmp_path / "judging" / "10" / "artifacts/judge/verdicts.jsonl").read_text().splitlines()
    assert [json.loads(line)["score"] for line in verdicts] == [85.0] * 10  # the stand-in's, which came last


@pytest.mark.slow
def test_two_processes_a_context_and_a_model_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_parts, "PROCESS_STEPS", 3)
    points, _ = training_parts.processes(tmp_path / "processes", [2])
    assert points[-1].series == "a thread each"
    assert points[-1].size == 2
    assert points[-1].peak_bytes > 200 << 20
    assert all(point.tokens_per_second and point.estimated_bytes for point in points)

    [short, long], _ = training_parts.context(tmp_path / "context", [64, 128])
    # Every row of a step has that many tokens.
    assert short.tokens_per_second == pytest.approx(8 * 64 / short.seconds, rel=0.05)
    assert long.tokens_per_second == pytest.approx(8 * 128 / long.seconds, rel=0.05)

    [tiny], left_out = training_parts.model(tmp_path / "model", ["tiny"])
    assert (tiny.label, left_out) == ("tiny", [])
    monkeypatch.setattr(training_parts, "BYTES_A_PARAMETER", 1 << 40)
    none, left_out = training_parts.model(tmp_path / "model-2", ["tiny"])
    assert none == []
    assert "tiny: it takes" in left_out[0]
