"""The code whose tests are tested, and which tests reach it."""

from __future__ import annotations

import ast
from pathlib import Path

from tools.mutants.operators import Mutant, mutants

ROOT = Path(__file__).resolve().parent.parent.parent

#: Folders, which stand for all modules in them and below, modules, and functions.
TARGETS = (
    "stages/judge/scores/",
    "stages/finetune/loss.py",
    "stages/gpt2/decoding.py",
    "stages/split/",
    "stages/judge/judges/transport.py",
    "stages/finetune/progress.py",
    "stages/gpt2/sampling.py",
    "stages/judge/runs/comparison.py::permutation_p",
)
#: The share of mutants that the tests have to kill, in each target.
LEAST_KILLED = 0.9

#: The tests of a module that are not in the file with its name.
TESTS = {
    "stages/gpt2/decoding.py": ["tests/gpt2/test_decoding.py", "tests/gpt2/test_prompt_lookup.py"],
    "stages/judge/runs/comparison.py": ["tests/judge/runs/test_compare.py"],
    "stages/split/__main__.py": ["tests/split/test_stage.py"],
    "stages/split/checks/rows.py": ["tests/split/checks/test_findings.py"],
}


def modules(target: str) -> list[str]:
    """The modules of a target, relative to the repository."""
    found = (ROOT / target).rglob("*.py") if target.endswith("/") else [ROOT / target.partition("::")[0]]
    return sorted(path.relative_to(ROOT).as_posix() for path in found if path.name != "__init__.py")


def mutants_of(target: str, module: str) -> list[Mutant]:
    """The mutants of a module of a target: all, or those of the one function that the target names."""
    function = target.partition("::")[2]
    found = mutants(ast.parse((ROOT / module).read_text(encoding="utf-8")))
    return [mutant for mutant in found if not function or mutant.function == function]


def target_of(module: str) -> str:
    """The target that a module is in."""
    return next(target for target in TARGETS if module.startswith(target.partition("::")[0]))


def tests_of(module: str) -> list[str]:
    """The test files that a module's mutants are tried with, relative to the repository."""
    path = Path(module)
    own = Path("tests", *path.parts[1:-1], f"test_{path.stem}.py")
    return TESTS.get(module, [own.as_posix()])
