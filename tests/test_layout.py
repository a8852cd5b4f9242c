"""Tests are where a reader looks for them: tests/finetune/test_batches.py tests stages/finetune/batches.py.

Every module has such a file, or stands in `TESTED_ELSEWHERE`.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from tests.root import ROOT

TESTS = ROOT / "tests"

#: Tests of more than one module, and what they are about.
OF_MORE_THAN_A_MODULE = {
    "benchmarks/scaling/test_parts.py": "the parts of the benchmark of scaling",
    "download/formats/test_public.py": "public formats of instruction data",
    "download/test_malformed.py": "datasets that cannot be read",
    "finetune/test_full_disks.py": "training with disks that are full",
    "finetune/test_book.py": "our training beside the loop of the book's package",
    "flows/test_deployments.py": "both deployments on a Prefect server, with a worker",
    "flows/test_doors.py": "the flow by each of its doors",
    "flows/test_proxies.py": "the flow behind a proxy",
    "judge/judges/test_real_server.py": "the judges against real servers",
    "judge/judges/test_replay.py": "the judges against what a real Ollama answered",
    "judge/test_grades.py": "the built-in judge beside answers graded by hand",
    "judge/test_judge_check.py": "tools/judge_check.py and tools/judge_card.py",
    "judge/test_pairs.py": "the stage with two answers side by side",
    "judge/scores/test_coverage.py": "the intervals of the scores, by simulation",
    "params/test_malformed.py": "a params.yaml with any mistake",
    "params/test_params.py": "a params.yaml that cannot be read",
}

#: Modules without a test file of their own, by the file that tests them. A folder stands for all modules in it.
TESTED_ELSEWHERE = {
    "flows/__main__.py": "flows/test_doors.py",
    "flows/chat.py": "generate/test_conversation.py",
    "flows/checks/": "flows/test_doctor.py",
    "flows/command_line.py": "flows/test_pipeline.py",
    "flows/again/gathered.py": "flows/test_publish.py",
    "flows/again/original.py": "flows/test_rerun.py",
    "flows/again/rebuild.py": "flows/test_rerun.py",
    "flows/again/revisions.py": "flows/test_publish.py",
    "flows/after_stages.py": "running/test_report.py",
    "flows/automations.py": "flows/test_deployments.py",
    "flows/deploy.py": "flows/test_deployments.py",
    "flows/dvc_cli.py": "flows/test_stage_process.py",
    "flows/export.py": "judge/test_export.py",
    "flows/gpus.py": "running/test_gpu.py",
    "flows/grading/kept.py": "flows/grading/test_terminal.py",
    "flows/guard.py": "flows/test_dvc_process.py",
    "flows/log_lines.py": "flows/test_pipeline.py",
    "flows/mlflow_run.py": "running/tracking/test_tracker.py",
    "flows/overrides.py": "flows/test_profiles.py",
    "flows/report.py": "judge/test_report.py",
    "flows/run.py": "flows/test_pipeline.py",
    "flows/seed_runs.py": "flows/test_seeds.py",
    "flows/servers.py": "flows/test_doors.py",
    "flows/servers_file.py": "flows/test_run_page.py",
    "flows/stage_task.py": "flows/test_pipeline.py",
    "flows/flow_process.py": "flows/test_supervised.py",
    "flows/tool_settings.py": "flows/test_pipeline.py",
    "flows/waits.py": "flows/test_stage_process.py",
    "stages/common/errors.py": "docs/test_facts.py",
    "stages/common/labels.py": "judge/scores/test_labels.py",
    "stages/common/metrics/beside.py": "running/test_beside.py",
    "stages/common/metrics/finetune.py": "finetune/test_outputs.py",
    "stages/common/metrics/gate.py": "split/checks/test_gate.py",
    "stages/common/metrics/generate.py": "generate/test_measures.py",
    "stages/common/metrics/judge.py": "judge/test_outputs.py",
    "stages/common/metrics/split.py": "split/test_census.py",
    "stages/common/metrics/tokenize.py": "tokenize/test_counts.py",
    "stages/common/records.py": "judge/test_outputs.py",
    "stages/common/results/download.py": "test_end_to_end.py",
    "stages/common/results/finetune.py": "finetune/test_outputs.py",
    "stages/common/results/generate.py": "generate/test_stage.py",
    "stages/common/results/judge.py": "judge/test_outputs.py",
    "stages/common/results/split.py": "split/test_census.py",
    "stages/common/results/tokenize.py": "tokenize/test_counts.py",
    "stages/download/base_model.py": "download/test_stage.py",
    "stages/download/contents.py": "download/test_fetch.py",
    "stages/download/formats/decoded.py": "download/test_expected.py",
    "stages/download/formats/hard.py": "download/formats/test_reader.py",
    "stages/download/formats/json_rows.py": "download/formats/test_reader.py",
    "stages/download/formats/packing.py": "download/formats/test_reader.py",
    "stages/download/formats/shapes.py": "download/formats/test_reader.py",
    "stages/download/formats/tables.py": "download/formats/test_reader.py",
    "stages/download/formats/values.py": "download/formats/test_reader.py",
    "stages/download/left_out.py": "download/formats/test_reader.py",
    "stages/download/model_files.py": "download/test_hub.py",
    "stages/download/shards.py": "download/test_hub.py",
    "stages/download/watched.py": "download/test_source.py",
    "stages/finetune/costs/clock.py": "finetune/costs/test_ledger.py",
    "stages/finetune/costs/weights.py": "finetune/test_preflight.py",
    "stages/finetune/launch.py": "finetune/test_team.py",
    "stages/finetune/layout.py": "finetune/test_batches.py",
    "stages/finetune/optimizer.py": "finetune/test_trainer.py",
    "stages/finetune/optimizer_step.py": "finetune/test_trainer.py",
    "stages/finetune/passes.py": "finetune/test_trainer.py",
    "stages/finetune/soundness.py": "finetune/test_schedule.py",
    "stages/finetune/training_run.py": "finetune/test_trainer.py",
    "stages/generate/answering.py": "generate/test_stage.py",
    "stages/generate/dvc_weights.py": "generate/test_served.py",
    "stages/generate/rows.py": "generate/test_stage.py",
    "stages/gpt2/graphs.py": "gpt2/test_captured_decoding.py",
    "stages/judge/judges/api_key.py": "judge/judges/test_openai.py",
    "stages/judge/judges/moved_tags.py": "judge/judges/test_ollama.py",
    "stages/judge/refusal.py": "judge/test_self_test.py",
    "stages/judge/judges/chat_judge.py": "judge/judges/test_openai.py",
    "stages/judge/judges/deadline.py": "judge/judges/test_transport.py",
    "stages/judge/judges/findings.py": "judge/judges/test_rightness.py",
    "stages/judge/judges/key_words.py": "judge/judges/test_rightness.py",
    "stages/judge/judges/looking.py": "judge/test_preflight.py",
    "stages/judge/judges/ollama_model.py": "judge/judges/test_ollama.py",
    "stages/judge/judges/open_rows.py": "judge/judges/test_rightness.py",
    "stages/judge/judges/protocol.py": "judge/test_panel.py",
    "stages/judge/judges/remedies.py": "judge/test_self_test.py",
    "stages/judge/judges/rows.py": "judge/judges/test_rightness.py",
    "stages/judge/judges/sentences.py": "judge/judges/test_rightness.py",
    "stages/judge/judges/usage.py": "judge/judges/test_ollama.py",
    "stages/judge/probes.py": "judge/test_self_test.py",
    "stages/judge/runs/answers.py": "judge/runs/test_versus.py",
    "stages/judge/runs/arguments.py": "judge/runs/test_compare.py",
    "stages/judge/runs/comparison.py": "judge/runs/test_compare.py",
    "stages/judge/runs/pairs.py": "judge/runs/test_versus.py",
    "stages/judge/runs/places.py": "judge/runs/test_versus.py",
    "stages/judge/runs/plot.py": "judge/runs/test_compare.py",
    "stages/judge/runs/recipe.py": "judge/runs/test_group.py",
    "stages/judge/runs/results.py": "judge/runs/test_compare.py",
    "stages/judge/runs/side_by_side.py": "judge/runs/test_versus.py",
    "stages/judge/runs/sources.py": "judge/runs/test_compare.py",
    "stages/judge/runs/table.py": "judge/runs/test_compare.py",
    "stages/params/": "params/test_params.py",
    "stages/running/checks/preflight.py": "flows/test_ahead.py",
    "stages/running/code_of.py": "test_architecture.py",
    "stages/running/devices.py": "running/test_gpu.py",
    "stages/running/gpu_users.py": "running/test_gpu.py",
    "stages/running/out_of_memory.py": "finetune/costs/test_memory.py",
    "stages/running/progress_file.py": "running/test_console.py",
    "stages/running/run_key.py": "finetune/test_checkpoint.py",
    "stages/running/signals.py": "finetune/test_checkpoint.py",
    "stages/running/stage_results.py": "running/tracking/test_tracker.py",
    "stages/running/summary_parts/": "running/test_summary.py",
    "stages/running/tracking/execution.py": "running/tracking/test_tracker.py",
    "stages/running/tracking/loadable.py": "generate/test_served.py",
    "stages/running/tracking/live.py": "running/tracking/test_tracker.py",
    "stages/running/tracking/mlflow_access.py": "running/tracking/test_database.py",
    "stages/running/tracking/mlflow_experiment.py": "running/tracking/test_tracker.py",
    "stages/running/tracking/mirror.py": "running/tracking/test_tracker.py",
    "stages/running/tracking/sending.py": "running/tracking/test_relay.py",
    "stages/split/checks/rows.py": "split/checks/test_findings.py",
    "stages/tokenize/in_batches.py": "tokenize/test_stage.py",
    "stages/tokenize/labels.py": "tokenize/test_shown.py",
    "stages/prompts/styles.py": "prompts/test_prompt.py",
}


def candidates(path: str) -> list[Path]:
    """The modules and packages that a test file may stand for, whether they exist or not."""
    folder, name = Path(path).parent, Path(path).stem.removeprefix("test_")
    if name == "stage":
        return [ROOT / "stages" / folder / "__main__.py"]
    return [ROOT / top / folder / end for top in ("stages", "") for end in (f"{name}.py", f"{name}/__init__.py")]


def files() -> list[str]:
    """The test files in folders named after ours, relative to tests/. Those at the top are of the project."""
    found = (path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))
    return sorted(path.as_posix() for path in found if len(path.parts) > 1 and path.parts[0] != "docs")


@pytest.mark.parametrize("path", files())
def test_a_test_file_has_the_path_of_what_it_tests(path):
    assert path in OF_MORE_THAN_A_MODULE or any(found.is_file() for found in candidates(path))


def test_exceptions_are_needed():
    missing = [path for path in OF_MORE_THAN_A_MODULE if not (TESTS / path).is_file()]
    mirroring = [path for path in OF_MORE_THAN_A_MODULE if any(found.is_file() for found in candidates(path))]

    assert (missing, mirroring) == ([], [])


def test_what_a_test_file_may_stand_for():
    found = [path.relative_to(ROOT).as_posix() for path in candidates("finetune/costs/test_work.py")]

    assert found[0] == "stages/finetune/costs/work.py"
    assert "flows/run.py" in [path.relative_to(ROOT).as_posix() for path in candidates("flows/test_run.py")]
    assert candidates("split/test_stage.py") == [ROOT / "stages" / "split" / "__main__.py"]


def our_modules() -> list[str]:
    """The modules of the pipeline, relative to the repository."""
    found = (path for top in ("stages", "flows") for path in (ROOT / top).rglob("*.py"))
    return sorted(path.relative_to(ROOT).as_posix() for path in found if path.name != "__init__.py")


def mirrors(module: str) -> list[Path]:
    """The test files of a module or of its package, whether they exist or not: tests/running/test_tracking.py too."""
    path = Path(module)
    folder = path.parent.relative_to("stages") if path.parts[0] == "stages" else path.parent
    names = {"__main__": ["stage"], "job": ["job", "stage"]}.get(path.stem, [path.stem])
    return [*(TESTS / folder / f"test_{name}.py" for name in names), TESTS / folder.parent / f"test_{folder.name}.py"]


def elsewhere(module: str) -> str | None:
    """The file in `TESTED_ELSEWHERE` that tests a module."""
    return TESTED_ELSEWHERE.get(module) or TESTED_ELSEWHERE.get(f"{Path(module).parent.as_posix()}/")


@functools.cache
def named_in(path: Path) -> frozenset[Path]:
    """The modules of ours that a module imports or runs: `python -m flows.run`, `python -m stages.split`, guard.py."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = node.value.split()
            beside = (path.with_name(name) for name in names if re.fullmatch(r"\w+\.py", name))
            found.update(file for file in beside if file.is_file())
        for name in names:
            if re.fullmatch(r"(stages|flows|tests)(\.\w+)*", name):
                base = ROOT / name.replace(".", "/")
                found.update(file for file in (base.with_suffix(".py"), base / "__main__.py") if file.is_file())
    return frozenset(found)


def reached_by(test: Path) -> set[Path]:
    """The modules that a test file or its helpers name, and those that they import themselves."""
    named = set(named_in(test))
    named |= {further for helper in named if helper.is_relative_to(TESTS) for further in named_in(helper)}
    return named | {further for module in named for further in named_in(module)}


@pytest.mark.parametrize("module", our_modules())
def test_every_module_has_tests_where_a_reader_looks_for_them(module):
    own = any(path.is_file() for path in mirrors(module))

    assert own or elsewhere(module), f"write {mirrors(module)[0].relative_to(ROOT)}, or add to TESTED_ELSEWHERE"
    assert not (own and elsewhere(module)), "it has a test file of its own: remove it from TESTED_ELSEWHERE"


@pytest.mark.parametrize("module", [module for module in our_modules() if elsewhere(module)])
def test_a_module_that_is_tested_elsewhere_is_reached_from_there(module):
    assert ROOT / module in reached_by(TESTS / str(elsewhere(module)))


def test_what_is_tested_elsewhere_exists():
    assert [name for name in TESTED_ELSEWHERE if not (ROOT / name).exists()] == []


def test_where_the_tests_of_a_module_may_be():
    found = [path.relative_to(ROOT).as_posix() for path in mirrors("stages/running/tracking/live.py")]

    assert found == ["tests/running/tracking/test_live.py", "tests/running/test_tracking.py"]
    assert mirrors("flows/run.py")[0] == TESTS / "flows" / "test_run.py"
    assert mirrors("stages/split/__main__.py")[0] == TESTS / "split" / "test_stage.py"


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.relative_to(TESTS).as_posix())
def test_a_module_that_holds_tests_has_a_name_that_pytest_collects(path):
    lines = path.read_text(encoding="utf-8").splitlines()

    assert path.name.startswith("test_") or not any(line.startswith("def test_") for line in lines)
