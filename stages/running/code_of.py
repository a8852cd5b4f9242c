"""Which files of ours a stage's program is made of, read off the imports."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

#: The code in these folders changes no output of a stage: it starts, watches and reports stages, or counts their costs.
#: Nothing else is left out of a stage's code. A module that only these folders import is left out with them.
NO_INFLUENCE = ("stages/running/", "stages/finetune/costs/")


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
    """The files that importing a dotted name runs, as far as they are ours: ``stages.prompts.prompt`` gives the
    module's file and the ``__init__.py`` of both packages.
    """
    parts = module.split(".")
    found: set[Path] = set()
    for end in range(1, len(parts) + 1):
        stem = ROOT.joinpath(*parts[:end])
        found |= {path for path in (stem / "__init__.py", stem.with_suffix(".py")) if path.is_file()}
    return frozenset(found)


def closure(path: Path) -> set[Path]:
    """A module and every module of ours that it imports, directly or through others, without `NO_INFLUENCE`."""
    reached = {path}
    waiting = [path]
    while waiting:
        for found in imports(waiting.pop()) - reached:
            if not found.relative_to(ROOT).as_posix().startswith(NO_INFLUENCE):
                reached.add(found)
                waiting.append(found)
    return reached


@functools.cache
def code_behind(*modules: str) -> tuple[Path, ...]:
    """The files of ``stages.generate.answering`` and the like, and of all modules that they import."""
    files = (ROOT / f"{module.replace('.', '/')}.py" for module in modules)
    return tuple(sorted(path for file in files for path in closure(file) if path.name != "__init__.py"))


@functools.cache
def code_of(stage: str) -> tuple[Path, ...]:
    """The files that a stage's outputs depend on: modules, and data files in the stage's own folder.

    The data of a package of which the stage imports no module, such as that of its report, are none of its own.
    """
    modules = closure(ROOT / "stages" / stage / "__main__.py")
    packages = {path.parent for path in modules}
    data = {
        path
        for path in (ROOT / "stages" / stage).rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts and _package(path) in packages
    }
    # A package's __init__.py holds a docstring and nothing else (a test says so).
    return tuple(sorted(path for path in modules | data if path.name != "__init__.py"))


def _package(path: Path) -> Path:
    """The folder of the package that a file belongs to."""
    return next(folder for folder in path.parents if (folder / "__init__.py").is_file())
