"""Which files of ours a stage's program is made of, read off the imports."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

#: What a stage does with these changes none of its outputs: they tell people and trackers, or decide where it runs.
NO_INFLUENCE = (
    "stages/common/closure.py",
    "stages/common/console.py",
    "stages/common/devices.py",
    "stages/common/environment.py",
    "stages/common/gpu.py",
    "stages/common/program.py",
    "stages/common/restore.py",
    "stages/common/signals.py",
    "stages/common/summary.py",
    "stages/common/tracking/",
    "stages/sft/account.py",
    "stages/sft/identity.py",
    "stages/sft/ledger.py",
    "stages/sft/memory.py",
    "stages/sft/meter.py",
    "stages/sft/room.py",
    "stages/sft/shortage.py",
)


@functools.cache
def imports(path: Path) -> frozenset[Path]:
    """The files of ours that a module imports itself, anywhere in it, packages' ``__init__.py`` included."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            found |= files_of(name)
    return frozenset(found)


@functools.cache
def files_of(module: str) -> frozenset[Path]:
    """The files that importing a dotted name runs, as far as they are ours: ``stages.sft.prompt`` gives the module's
    file and the ``__init__.py`` of both packages.
    """
    parts = module.split(".")
    found: set[Path] = set()
    for end in range(1, len(parts) + 1):
        stem = ROOT.joinpath(*parts[:end])
        found |= {path for path in (stem / "__init__.py", stem.with_suffix(".py")) if path.is_file()}
    return frozenset(found)


def closure(path: Path) -> set[Path]:
    """A module and every module of ours that it imports, directly or through others."""
    reached = {path}
    waiting = [path]
    while waiting:
        for found in imports(waiting.pop()) - reached:
            reached.add(found)
            waiting.append(found)
    return reached


def code_of(stage: str) -> list[Path]:
    """The files that a stage's outputs depend on: modules, and data files beside them."""
    modules = closure(ROOT / "stages" / f"{stage}.py")
    folders = {path.parent for path in modules} - {ROOT / "stages"}
    data = {
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    # A package's __init__.py holds a docstring and nothing else (a test says so).
    return sorted(
        path
        for path in modules | data
        if path.stat().st_size
        and path.name != "__init__.py"
        and not path.relative_to(ROOT).as_posix().startswith(NO_INFLUENCE)
    )
