"""Who may import whom, read off the syntax trees."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("download", "split", "tokenize", "finetune", "generate", "judge")
PACKAGES = ("common", "gpt2", "sft", "judging", "inputs")

#: What a part may import of ours. A program is one file under stages/.
ALLOWED = {
    "flows": ("flows", "stages.common"),
    "program": tuple(f"stages.{package}" for package in PACKAGES),
    "stages.common": ("stages.common",),
    "stages.gpt2": ("stages.gpt2", "stages.common.errors", "stages.common.files"),
    "stages.sft": ("stages.sft", "stages.gpt2", "stages.common"),
    "stages.judging": ("stages.judging", "stages.common"),
    "stages.inputs": ("stages.inputs", "stages.common"),
}

#: What of others may be imported in some places alone.
RESTRICTED = {
    "mlflow": ("stages/running/tracking",),
    "prefect": ("flows",),
    "torch": ("stages/gpt2", "stages/sft"),
    "safetensors": ("stages/gpt2/weights.py", "stages/finetune/checkpoint.py", "stages/finetune/lora.py"),
    "pandas": ("stages/split/census.py",),
    "tiktoken": ("stages/gpt2/tokenizer.py",),
    "huggingface_hub": ("stages/download/hub.py",),
    "requests": ("stages/inputs", "stages/judging"),
    "dvc": (),
    "transformers": (),
}


def modules() -> list[Path]:
    return sorted(path for part in ("stages", "flows") for path in (ROOT / part).rglob("*.py"))


def part_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    if parts[0] == "flows":
        return "flows"
    return "program" if len(parts) == 2 else f"stages.{parts[1]}"


def imported(path: Path) -> set[str]:
    """Every dotted name a file imports, wherever in it; ``from a import b`` gives both a and a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_of_ours_are_allowed(path):
    part = part_of(path)
    ours = {name for name in imported(path) if within(name, ("stages", "flows", "tests", "benchmarks", "tools"))}
    programs = tuple(f"stages.{name}" for name in PROGRAMS)

    assert {name for name in ours if not within(name, ALLOWED[part]) or name in programs} == set()


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_of_others_are_where_they_belong(path):
    where = path.relative_to(ROOT).as_posix()
    names = imported(path)

    for package, places in RESTRICTED.items():
        if any(within(name, (package,)) for name in names):
            assert where.startswith(places) if places else False, f"{where} imports {package}"


def test_what_is_imported_is_declared():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {canonical(re.match(r"[\w.-]+", entry)[0]) for entry in declared}
    distributions = importlib.metadata.packages_distributions()
    others = {name.split(".")[0] for path in modules() for name in imported(path)}
    others -= {*sys.stdlib_module_names, "stages", "flows"}

    assert {"torch", "ruamel", "urllib3"} <= others
    assert [name for name in sorted(others) if not names & set(map(canonical, distributions[name]))] == []


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_program_of_the_pipeline_is_there_and_no_other():
    found = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}

    assert found == set(PROGRAMS)


def test_a_package_s_init_holds_a_docstring_alone():
    # tracking is a module spread over files, with its __init__ as its face; stages' own refuses a bare Python.
    for path in (ROOT / "stages").rglob("__init__.py"):
        if path.parent.name in ("tracking", "stages"):
            continue
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path
        assert isinstance(body[0].value, ast.Constant), path


def test_pickle_is_never_read_or_written():
    for path in modules():
        assert not any(within(name, ("pickle", "joblib", "dill", "shelve")) for name in imported(path)), path
        assert "torch.load(" not in path.read_text(encoding="utf-8"), path


def test_a_python_without_the_packages_is_told_how_to_get_them():
    done = subprocess.run(
        [sys.executable, "-S", "-m", "stages.judge"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 78
    assert "source .venv/bin/activate" in done.stderr
    assert "Traceback" not in done.stderr
