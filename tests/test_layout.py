"""Tests are where a reader looks for them: tests/finetune/test_batches.py tests stages/finetune/batches.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.root import ROOT

TESTS = ROOT / "tests"

#: Tests of more than one module, and what they are about.
OF_MORE_THAN_A_MODULE = {
    "finetune/test_full_disks.py": "training with disks that are full",
    "finetune/test_book.py": "our training beside the loop of the book's package",
    "flows/test_doors.py": "the flow by each of its doors",
    "judge/judges/test_real_server.py": "the judges against real servers",
    "judge/judges/test_replay.py": "the judges against what a real Ollama answered",
    "judge/scores/test_coverage.py": "the intervals of the scores, by simulation",
    "params/test_params.py": "a params.yaml that cannot be read",
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


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.relative_to(TESTS).as_posix())
def test_a_module_that_holds_tests_has_a_name_that_pytest_collects(path):
    lines = path.read_text(encoding="utf-8").splitlines()

    assert path.name.startswith("test_") or not any(line.startswith("def test_") for line in lines)
