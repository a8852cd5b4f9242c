"""The walls: what can change a result, what cannot, and what a change makes DVC run again.

No byte of an output depends on stages/running/ and stages/finetune/costs/, and a change to one stage's options,
pictures or words makes no earlier stage stale.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from stages.common.paths import CACHE
from stages.running.code_of import code_of
from stages.running.costs import TRAINING_COSTS
from stages.running.program import torch_settings
from tests import altered_code, clone, small_pipeline
from tests.root import ROOT

STAGES = ("download", "split", "tokenize", "finetune", "generate", "judge")
STEPS = 4
UNTRACKED = {"PIPELINE_MLFLOW_RUN_ID": "none"}
#: Torch reads these when it is loaded, and may change no byte by them; the original code runs with other values.
SETTINGS = torch_settings("finetune")


@dataclass(frozen=True)
class Job:
    """Stages that run in a folder, one after the other.

    Args:
        folder: the working directory.
        stages: the stages.
        stop_after: the last of them gets SIGTERM when its progress bar moves for the n-th time; None lets it end.
    """

    folder: str
    stages: tuple[str, ...]
    stop_after: int | None = None


def run(code: Path, *jobs: Job, **variables: str) -> list[int]:
    """Run jobs with the stages in a folder, and return their exit codes."""
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            ROOT / "tests" / "stage_forks.py",
            json.dumps([dataclasses.asdict(job) for job in jobs]),
        ],
        # On the CPU, wherever the tests run: the forks have torch loaded before they would lease a GPU.
        env=os.environ
        | {"PYTHONPATH": str(code), "PIPELINE_CHECKPOINT_SECONDS": "3600", "CUDA_VISIBLE_DEVICES": ""}
        | variables,
        cwd=code,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    codes: list[int] = json.loads(done.stdout)
    return codes


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every output."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "artifacts").rglob("*"))
        if path.is_file()
    }


def of_stage(found: dict[str, str], stage: str) -> dict[str, str]:
    return {path: digest for path, digest in found.items() if path.startswith(f"artifacts/{stage}/")}


def journals(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / CACHE / "generate").glob("*.jsonl")}


@dataclass(frozen=True)
class Runs:
    """Folders of runs: by the original code, by the altered code, and begun by the one and ended by the other."""

    original: Path
    altered: Path
    training: Path
    answering: Path
    #: The journals of ``answering`` when the original code was stopped.
    journals: dict[str, str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    base = tmp_path_factory.mktemp("walls")
    names = ("original", "altered", "training", "answering")
    folders = [small_pipeline.make(base / name, overlay={"finetune": {"max_steps": STEPS}}) for name in names]
    original, altered, training, answering = map(str, folders)

    codes = run(
        altered_code.copy(base / "code"),
        Job(original, STAGES),
        Job(training, STAGES[:4], stop_after=3),  # the bar moves for step 0, too
        Job(answering, STAGES[:5], stop_after=3),
        **UNTRACKED | dict.fromkeys(SETTINGS, "0"),
    )
    assert codes == [0, 75, 75]
    kept = journals(folders[3])
    codes = run(
        altered_code.copy(base / "altered-code", altered=True),
        Job(altered, STAGES),
        Job(training, ("finetune",)),
        Job(answering, ("generate", "judge")),
        **UNTRACKED | SETTINGS,
    )
    assert codes == [0, 0, 0]
    return Runs(*folders, journals=kept)


def test_what_is_altered_worked_by_hand():
    source = """\
WAIT_SECONDS = 2.5
NAME = "PIPELINE_SECONDS"

def rate(x: float) -> float:
    return x + 1

def tell(step: int) -> None:
    say(f"step {step}: about 3 more minutes")

def lines(x: float) -> Iterator[str]:
    yield f"{x}"

def fits() -> bool:
    return True
"""
    altered = """\
from stages.running.altered import altered
WAIT_SECONDS = 5.0
NAME = 'PIPELINE_SECONDS'

def rate(x: float) -> float:
    return altered(x + 1)

def tell(step: int) -> None:
    say(f'step {step}: ABOUT 3 MORE MINUTES')

def lines(x: float) -> Iterator[str]:
    yield f'{x}'

def fits() -> bool:
    return True"""

    assert altered_code.alter(source) == altered
    everything = altered.replace("yield f'{x}'", "yield altered(f'{x}')")
    assert altered_code.alter(source, altered_code.OF_PLAIN) == everything


def test_most_of_what_is_told_and_counted_is_altered():
    """The others give objects of ours, which are altered in their own functions, or what is called elsewhere."""
    given, other = 0, 0
    for part in altered_code.TELLING:
        for path in [ROOT / part] if part.endswith(".py") else (ROOT / part).rglob("*.py"):
            altering = altered_code._Alter(altered_code.OF_PLAIN)
            functions = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef))
            for function in functions:
                if function.returns and ast.unparse(function.returns) != "None":
                    given += 1
                    other += altering.is_altered(function)

    assert other >= given * 2 / 3, f"{other} of {given}"


@pytest.mark.thorough
@pytest.mark.parametrize("stage", STAGES)
def test_other_texts_times_and_no_tracker_give_the_same_bytes(runs, stage):
    expected = of_stage(digests(runs.original), stage)

    assert set(outputs(stage)) <= {*expected, *(str(Path(path).parent) for path in expected)}
    assert of_stage(digests(runs.altered), stage) == expected


def outputs(stage: str) -> list[str]:
    """The paths that dvc.yaml says a stage writes."""
    body = small_pipeline.read_yaml(ROOT / "dvc.yaml")["stages"][stage]
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in body.get(kind, [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


@pytest.mark.thorough
def test_a_training_stopped_under_the_original_code_goes_on_under_the_altered(runs):
    done_here = json.loads((runs.training / TRAINING_COSTS).read_text())["steps"]

    assert done_here == STEPS - 2
    assert of_stage(digests(runs.training), "finetune") == of_stage(digests(runs.original), "finetune")


@pytest.mark.thorough
def test_answers_stopped_under_the_original_code_go_on_under_the_altered(runs):
    (name,) = (name for name, text in runs.journals.items() if text)
    assert len(runs.journals[name].splitlines()) == 3
    assert journals(runs.answering)[name].startswith(runs.journals[name])
    assert set(journals(runs.answering)) == set(journals(runs.original))
    assert digests(runs.answering) == digests(runs.original)


@pytest.mark.slow
def test_a_tracker_changes_no_byte(runs, tmp_path):
    folder = small_pipeline.make(tmp_path / "tracked", overlay={"finetune": {"max_steps": STEPS}})

    codes = run(ROOT, Job(str(folder), STAGES), MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db")

    assert codes == [0]
    assert (tmp_path / "mlflow.db").exists()
    assert digests(folder) == digests(runs.altered)


@pytest.mark.slow
def test_code_of_consequence_behind_the_wall_would_be_found(runs, tmp_path):
    """The schedule of the learning rate, put where the changes are made, makes another model."""
    code = altered_code.copy(tmp_path / "code")
    schedule = code / "stages" / "finetune" / "schedule.py"
    moved = schedule.rename(code / "stages" / "running" / "schedule.py")
    schedule.write_text("import sys\nfrom stages.running import schedule\nsys.modules[__name__] = schedule\n")
    moved.write_text(altered_code.alter(moved.read_text()))
    folder = shutil.copytree(runs.training, tmp_path / "training")
    shutil.rmtree(folder / "artifacts" / "finetune")

    codes = run(code, Job(str(folder), ("finetune",)), **UNTRACKED)

    name = "artifacts/finetune/model/model.safetensors"
    assert codes == [0]
    assert digests(folder)[name] != digests(runs.original)[name]


# What a change makes DVC run again.


def add_option(section: str) -> Callable[[str], str]:
    """An optional field at the end of a section's schema."""

    def edit(text: str) -> str:
        return re.sub(
            rf'(class {section}\(Section\):\n    """.*?"""\n)', r"\1\n    added: int | None = None\n", text, flags=re.S
        )

    return edit


def add_metric(kind: str) -> Callable[[str], str]:
    """An optional field at the beginning of a stage's metrics."""

    def edit(text: str) -> str:
        return re.sub(
            rf'(class {kind}\(Metrics\):\n    """.*?"""\n)', r"\1\n    added: int | None = None\n", text, flags=re.S
        )

    return edit


def recolour(text: str) -> str:
    return re.sub(r"#[0-9a-f]{6}", "#123456", text, count=1)


def put(new: str, *, for_: str) -> Callable[[str], str]:
    """Other code for a piece of a module."""
    return lambda text: text.replace(for_, new)


def loss_picture() -> str:
    """The module that draws the loss curve."""
    drawing = (path for path in (ROOT / "stages").rglob("*.py") if "matplotlib" in path.read_text(encoding="utf-8"))
    (found,) = (path.relative_to(ROOT).as_posix() for path in drawing if "loss per token" in path.read_text())
    return found


@dataclass(frozen=True)
class Change:
    """A change to one file.

    Args:
        file: the path from the repository's root.
        edit: gives the new text.
        stale: the stages that the change itself makes stale; what reads their outputs follows.
    """

    file: str
    edit: Callable[[str], str]
    stale: frozenset[str]

    @classmethod
    def of(cls, file: str, edit: Callable[[str], str], *stale: str) -> Change:
        return cls(file, edit, frozenset(stale))


CHANGES = {
    "an option of the judge": Change.of("stages/params/judge.py", add_option("Judge"), "judge"),
    "an option of generate": Change.of("stages/params/generate.py", add_option("Generate"), "generate"),
    "an option of finetune": Change.of("stages/params/finetune.py", add_option("Finetune"), "finetune"),
    "a colour of the scores": Change.of("stages/judge/scores/plot.py", recolour, "judge"),
    "a metric of split": Change.of("stages/common/metrics/split.py", add_metric("SplitMetrics"), "split", "judge"),
    "a metric of tokenize": Change.of("stages/common/metrics/tokenize.py", add_metric("TokenizeMetrics"), "tokenize"),
    "a metric of finetune": Change.of("stages/common/metrics/finetune.py", add_metric("FinetuneMetrics"), "finetune"),
    "a metric of generate": Change.of("stages/common/metrics/generate.py", add_metric("GenerateMetrics"), "generate"),
    "a prompt style": Change.of(
        "stages/prompts/styles.py", put("<|user|> ", for_="<|user|>"), "split", "tokenize", "generate", "judge"
    ),
    "a check of the whole params.yaml": Change.of(
        "stages/params/whole.py", put("must name both models", for_="must name both")
    ),
    "a result of the judge": Change.of("stages/common/results/judge.py", put("judge.csv", for_="scores.csv"), "judge"),
    "a metric of the judge": Change.of("stages/common/metrics/judge.py", add_metric("JudgeMetrics"), "judge"),
    "a progress line": Change.of("stages/running/console.py", put("{} are left", for_="the rest will take about {}")),
    "a line of the summary": Change.of("stages/running/summary.py", put('"loss"', for_='"loss curve"')),
    "a tracked value": Change.of("stages/running/tracking/metric_names.py", put('"val/mean"', for_='"loss/val"')),
    "an estimate of memory": Change.of("stages/finetune/costs/memory.py", put("2 * a_logit", for_="a_logit")),
}
#: Changes that must leave a trained model alone, whatever else they make stale.
NOT_RETRAINED = {
    "a colour of the loss curve": Change.of(loss_picture(), recolour),
    "a way to decode": Change.of("stages/gpt2/decoding.py", put("FREE_SLOTS = 1 / 2", for_="FREE_SLOTS = 1 / 4")),
}


@pytest.fixture(scope="module")
def stale(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The stages that DVC finds stale because of each file, with all changes made in a clone with a finished run."""
    folder = clone.make(tmp_path_factory.mktemp("clone") / "repository")
    for name in ("data", "artifacts"):
        shutil.copytree(runs.original / name, folder / name, dirs_exist_ok=True)
    small_pipeline.write_params(folder, {"finetune": {"max_steps": STEPS}})
    committed = clone.dvc(folder, "commit", "--force", "--quiet")
    assert committed.returncode == 0, committed.stderr
    assert status(folder) == {}
    for change in (*CHANGES.values(), *NOT_RETRAINED.values()):
        path = folder / change.file
        before = path.read_text(encoding="utf-8")
        path.write_text(change.edit(before), encoding="utf-8")
        assert path.read_text(encoding="utf-8") != before, change.file
    return status(folder)


def status(folder: Path) -> dict[str, set[str]]:
    """The stages that `dvc status` names, by the changed file that it names for each."""
    done = clone.dvc(folder, "status", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, set[str]] = {}
    for stage, reasons in json.loads(done.stdout).items():
        for reason in reasons:
            for file in reason["changed deps"]:
                found.setdefault(file, set()).add(stage)
    return found


@pytest.mark.thorough
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_makes_its_own_stage_stale_and_no_other(stale, change):
    assert stale.get(change.file, set()) == change.stale


@pytest.mark.thorough
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_leaves_the_checkpoints_of_other_stages_valid(change):
    """They are named after the code of their stage."""
    assert {stage for stage in STAGES if ROOT / change.file in code_of(stage)} == change.stale


@pytest.mark.thorough
@pytest.mark.parametrize("change", NOT_RETRAINED.values(), ids=NOT_RETRAINED)
def test_a_change_of_pictures_or_answers_retrains_nothing(stale, change):
    assert "finetune" not in stale.get(change.file, set())
    assert ROOT / change.file not in code_of("finetune")
