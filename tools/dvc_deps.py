"""Which files of ours a stage's program is made of, and dvc.yaml held to that.

    python -m tools.dvc_deps           tells what dvc.yaml lacks or lists too much; exit code 1 if anything
    python -m tools.dvc_deps --write   mends dvc.yaml

DVC reruns a stage when one of its deps changes, and sees none that is not listed.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
DVC_YAML = ROOT / "dvc.yaml"

#: What a stage does with these changes none of its outputs: they tell people and trackers, or decide where it runs.
NO_INFLUENCE = (
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
    "stages/sft/ledger.py",
    "stages/sft/memory.py",
    "stages/sft/meter.py",
    "stages/sft/shortage.py",
)


def imports(path: Path) -> set[Path]:
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
    return found


def files_of(module: str) -> set[Path]:
    """The files that importing a dotted name runs, as far as they are ours: ``stages.sft.prompt`` gives the module's
    file and the ``__init__.py`` of both packages.
    """
    parts = module.split(".")
    found: set[Path] = set()
    for end in range(1, len(parts) + 1):
        stem = ROOT.joinpath(*parts[:end])
        found |= {path for path in (stem / "__init__.py", stem.with_suffix(".py")) if path.is_file()}
    return found


def closure(path: Path) -> set[Path]:
    """A module and every module of ours that it imports, directly or through others."""
    reached = {path}
    waiting = [path]
    while waiting:
        for found in imports(waiting.pop()) - reached:
            reached.add(found)
            waiting.append(found)
    return reached


def code_deps(stage: str) -> list[str]:
    """The files that a stage's outputs depend on, relative to the root: modules, and data files beside them."""
    modules = closure(ROOT / "stages" / f"{stage}.py")
    folders = {path.parent for path in modules} - {ROOT / "stages"}
    data = {
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    names = (path.relative_to(ROOT).as_posix() for path in modules | data if path.stat().st_size)
    # A package's __init__.py holds a docstring and nothing else (a test says so).
    return sorted(name for name in names if not name.endswith("__init__.py") and not name.startswith(NO_INFLUENCE))


def problems(tree: dict[str, Any]) -> list[str]:
    """What is missing from the stages' deps, or superfluous among them."""
    found = []
    for stage, body in tree["stages"].items():
        listed = {dep for dep in body["deps"] if dep.startswith("stages/")}
        needed = set(code_deps(stage))
        found += [f"{stage}: {name} is imported and not listed" for name in sorted(needed - listed)]
        found += [f"{stage}: {name} is listed and not imported" for name in sorted(listed - needed)]
    return found


def main() -> None:
    """Check dvc.yaml, or with --write mend it."""
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    tree = yaml.load(DVC_YAML)
    if "--write" in sys.argv:
        for stage, body in tree["stages"].items():
            kept = [dep for dep in body["deps"] if not dep.startswith("stages/")]
            body["deps"] = kept + code_deps(stage)
        yaml.dump(tree, DVC_YAML)
    elif found := problems(tree):
        sys.exit("\n".join([*found, "to mend it: python -m tools.dvc_deps --write"]))


if __name__ == "__main__":
    main()
