"""The table of faults: its own checks find what is planted, and a few of its rows are made."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.faults import chains, checks, clones, table, tested
from tests.faults.chains import Chain
from tests.faults.clones import CannotInject, Clone, Life, Wrong
from tests.faults.table import FAIL, OK, SKIPPED, Bench, Fault, Row
from tests.faults.tested import ByTests, Result
from tests.faults.truth import Truth, as_text, md5, records, shown_values, wrong_files, wrong_records
from tests.root import ROOT


def entry(seed: int = 123, out: bytes = b"made") -> dict[str, Any]:
    return {
        "cmd": "python -m stages.split",
        "deps": [{"path": "data.json", "md5": hashlib.md5(b"rows").hexdigest()}],
        "params": {"params.yaml": {"split": {"seed": seed}}},
        "outs": [{"path": "artifacts/split/train.jsonl", "md5": hashlib.md5(out).hexdigest()}],
    }


def write(path: Path, tree: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    YAML(typ="safe").dump(tree, path)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A folder with the record of one stage, which is right."""
    root = tmp_path / "repository"
    (root / "artifacts" / "split").mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", root)
    (root / "data.json").write_bytes(b"rows")
    (root / "artifacts" / "split" / "train.jsonl").write_bytes(b"made")
    write(root / "dvc.lock", {"stages": {"split": entry()}})
    return Clone(root)


@pytest.fixture
def truth(clone: Clone) -> Truth:
    made = Truth()
    made.learn(clone)
    return made


def test_a_right_record_is_right(clone, truth):
    assert wrong_records(clone, truth) == []


@pytest.mark.parametrize("where", ["dvc.lock", "mlruns/1/a/artifacts/dvc.lock", ".dvc/cache/runs/aa/bb/cc"])
@pytest.mark.parametrize(
    ("planted", "what"),
    [
        (entry(out=b"other"), "an undisturbed run had other outputs"),
        (entry(seed=7), "no undisturbed run had these values and inputs"),
    ],
)
def test_a_wrong_record_is_found_wherever_it_is(clone, truth, where, planted, what):
    write(clone.root / where, planted if ".dvc/" in where else {"stages": {"split": planted}})

    (line,) = wrong_records(clone, truth)

    assert line.endswith(f": {what}")
    assert line.startswith("DVC's run cache" if ".dvc/" in where else where)


def test_a_file_or_a_value_that_the_lock_does_not_have_is_found(clone):
    write(clone.root / "dvc.lock", {"stages": {"split": entry(seed=7)}})
    (clone.root / "data.json").unlink()
    (clone.root / "artifacts" / "split" / "train.jsonl").write_bytes(b"other")

    assert wrong_files(clone) == [
        "dvc.lock, split: params.yaml has other values of split",
        "dvc.lock, split: data.json is not what it says",
        "dvc.lock, split: artifacts/split/train.jsonl is not what it says",
    ]


def test_the_md5_of_a_folder_is_dvc_s(tmp_path):
    """As `dvc add` of DVC 3.67 has it."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_text("two\n")
    (tmp_path / "a").write_text("one\n")

    listed = '[{"md5": "5bbf5a52328e7439ae6e719dfe712200", "relpath": "a"}, '
    listed += '{"md5": "c193497a1a06b2c72230e6146ff47080", "relpath": "b/c"}]'
    assert md5(tmp_path) == hashlib.md5(listed.encode()).hexdigest() + ".dir"


def test_a_run_cache_is_read(clone):
    write(clone.root / ".dvc" / "cache" / "runs" / "a" / "b" / "c", entry())

    assert [where for where, _ in records(clone.root)] == [
        "dvc.lock, split",
        "DVC's run cache, python -m stages.split",
    ]


def run(status: str = "FINISHED", began: float = 0.0, **data: Any) -> Any:
    """An MLflow run as its client gives it."""
    info = SimpleNamespace(run_name="a-run", status=status, start_time=1000 * began, artifact_uri="file:///nowhere")
    return SimpleNamespace(info=info, data=SimpleNamespace(**{"params": {}, "tags": {}, **data}))


def life(clone: Clone, said: str, code: int = 0, began: float = 100.0) -> Any:
    output = clone.root.parent / f"said-{began}"
    output.write_text(said)
    process = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"])
    process.wait()
    return Life(clone, "dvc", process, output, began)


def test_an_untracked_run_is_found(clone):
    trained = life(clone, "Running stage 'finetune'\n")

    assert len(checks.untracked([trained], [])) == 1
    assert checks.untracked([trained], [run(began=101)]) == []
    assert len(checks.untracked([trained], [run(began=50)])) == 1, "a run before it is another's"
    assert len(checks.untracked([trained], [run("FAILED", 101)])) == 1
    assert len(checks.untracked([trained, life(clone, trained.said, began=200)], [run(began=101)])) == 1
    assert checks.untracked([life(clone, "Running stage 'split'\n"), life(clone, trained.said, code=75)], []) == []


def test_a_run_with_other_parameters_than_any_undisturbed_one_is_found(clone, truth):
    params = shown_values(clone.root)

    assert checks.wrong_runs([run(params=params)], truth) == []
    (line,) = checks.wrong_runs([run(params=params | {"split.seed": "7"})], truth)
    assert line == "MLflow run a-run: no undisturbed run had its parameters"


def test_a_run_with_other_results_than_its_parameters_made_is_found(clone, truth, tmp_path):
    truth.files[as_text(shown_values(clone.root))]["artifacts/split/metrics.json"] = hashlib.md5(b"right").hexdigest()
    kept = tmp_path / "split" / "metrics.json"
    kept.parent.mkdir()
    kept.write_bytes(b"wrong")
    planted = run(params=shown_values(clone.root))
    planted.info.artifact_uri = f"file://{tmp_path}"

    (line,) = checks.wrong_runs([planted], truth)

    assert line == "MLflow run a-run: split/metrics.json is not what an undisturbed run with its parameters made"


def test_a_run_that_is_left_running_is_found_once_another_has_begun(truth):
    left = run("RUNNING", tags={"pipeline.owner": _gone()})

    assert checks.wrong_runs([left], truth) == [], "the next run sets it KILLED"
    (line,) = checks.wrong_runs([left, run("FAILED", 5.0)], truth)
    assert line == "MLflow run a-run: RUNNING, and its process has ended"


def _gone() -> str:
    """The identity of a process of this machine that has ended."""
    code = "from stages.running.tracking import execution; print(execution.identity())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_process_that_is_left_is_found(clone):
    orphan = clone.python("-c", "import time; time.sleep(60)")
    try:
        (line,) = checks.left_processes(clone, 0.5)
        assert line.startswith(f"process {orphan.process.pid} is left: ")
    finally:
        orphan.process.kill()
        orphan.end()
    assert checks.left_processes(clone) == []


def test_a_file_that_is_left_half_written_is_found(clone):
    (clone.root / "artifacts" / ".x.tmp").touch()

    assert checks.left_files(clone) == ["artifacts/.x.tmp is left"]


def test_a_training_that_begins_from_scratch_beside_its_checkpoint_is_found(clone):
    chain = Chain(clone, random.Random(0), {"here": "key"})
    before = {"key": 40}

    with pytest.raises(Wrong, match="from scratch, with a checkpoint of step 40 there"):
        chain.went_on(life(clone, "Running stage 'finetune'\nstep 10/80 x\n"), before)
    went = chain.went_on(life(clone, "Running stage 'finetune'\ngoing on from key/step-40\nstep 50/80\n"), before)
    assert went.startswith("training from a checkpoint")
    assert chain.went_on(life(clone, "Running stage 'split'\n"), before).startswith("the training had not begun")


def rows_of(folder: Path, *faults: Any) -> list[Row]:
    """The rows of faults by their functions, each with a folder of its own."""

    def start(_: Any) -> Clone:
        root = folder / "a-clone" / "repository"
        root.mkdir(parents=True)
        return Clone(root)

    bench = Bench(templates=None, truth=Truth())  # type: ignore[arg-type]
    return list(table.run([Fault("a fault", "a file", "dvc", start, fault, recorded=False) for fault in faults], bench))


def test_a_row_says_how_its_fault_ended(tmp_path):
    def seen(*_: Any) -> str:
        return "it goes on"

    def wrong(*_: Any) -> str:
        raise Wrong("exit code 1")

    def cannot(*_: Any) -> str:
        raise CannotInject("no disk can be mounted")

    def breaks(*_: Any) -> str:
        return str(1 // 0)

    def leaves(_: Any, clone: Clone) -> str:
        clone.python("-c", "import time; time.sleep(60)")
        return "it goes on"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks.left_processes, "__defaults__", (0.5,))
        found = rows_of(tmp_path, seen, wrong, cannot, breaks, leaves)

    assert [row.result for row in found] == [OK, FAIL, SKIPPED, FAIL, FAIL]
    assert [row.seen for row in found[:3]] == ["it goes on", "exit code 1", "no disk can be mounted"]
    assert "ZeroDivisionError" in found[3].seen
    assert "is left: " in found[4].seen
    assert Clone(tmp_path / "a-clone" / "repository").processes() == []
    assert list(tmp_path.iterdir()) == []


def test_the_table_is_markdown_with_a_count():
    rows = [Row("a | b", "x", "dvc", "two\nlines", OK), Row("c", "y", "flow", "z" * 900, FAIL)]

    lines = table.markdown(rows).splitlines()

    assert lines[2] == "| a \\| b | x | dvc | two lines | ok |"
    assert lines[3].startswith("| c | y | flow | zzz")
    assert len(lines[3]) < 640
    assert lines[-1] == "2 rows: 1 ok, 1 FAIL, 0 not here"


def test_a_row_of_tests_is_ok_only_if_each_of_them_has_passed():
    fault = ByTests("a fault", "a file", "stage", ("a/test_b.py::test_a_run_goes_on", "a/test_b.py::test_it_is_told"))
    first, second = fault.tests

    def result(**results: Result) -> Row:
        return tested.row(fault, {first: Result(passed=2), second: Result(passed=1)} | results)

    assert result() == Row("a fault", "a file", "stage", "a run goes on (2 ways); it is told", OK)
    assert result(**{second: Result(passed=1, failed=1)}).seen == f"failed: {second}"
    assert result(**{second: Result()}).result == FAIL
    assert result(**{second: Result(skipped="no disk")}) == Row("a fault", "a file", "stage", "no disk", SKIPPED)


def test_pytest_s_report_is_read(tmp_path):
    (tmp_path / "test_x.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('n', [1, 2, 3])\n"
        "def test_a(n):\n    assert n < 3\n"
        "def test_b():\n    pytest.skip('no disk')\n"
    )
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "test_x.py"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)

    found = tested.read(report)

    assert (found["test_x.py::test_a"].passed, found["test_x.py::test_a"].failed) == (2, 1)
    assert found["test_x.py::test_b"].skipped == "no disk"


@pytest.mark.parametrize("test", sorted({test for fault in tested.FAULTS for test in fault.tests}))
def test_every_test_that_a_row_stands_for_is_there(test):
    path, _, function = test.partition("::")

    assert f"\ndef {function}(" in (ROOT / "tests" / path).read_text(encoding="utf-8")


def test_every_kill_of_a_chain_is_by_a_door_and_a_process_that_there_is():
    assert set(chains._VICTIMS) - {"all", "door"} <= set(clones._COMMANDS)
    assert len(chains._VICTIMS) == len(chains._WEIGHTS)


@pytest.mark.slow
def test_a_few_rows_and_kills():
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.faults", "--only", "^kill|params.yaml edited after", "--kills", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(f"{time.monotonic() - began:.0f} s")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "| kill 2 (chain 1) |" in done.stdout
    assert "| end of chain 1 |" in done.stdout
    assert "4 rows: 4 ok, 0 FAIL" in done.stdout
