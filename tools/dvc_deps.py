"""Compares the code that dvc.yaml lists for each stage with the code that the stage imports.

    python -m tools.dvc_deps           names what is missing from dvc.yaml or superfluous in it; exit code 1 if anything
    python -m tools.dvc_deps --write   fixes dvc.yaml

DVC reruns a stage when one of its deps changes. A file that is not listed can change without a rerun.
"""

from __future__ import annotations

import sys
from argparse import RawDescriptionHelpFormatter
from typing import Any

from ruamel.yaml import YAML

from stages.running import program
from stages.running.arguments import Parser
from stages.running.code_of import ROOT, code_of

DVC_YAML = ROOT / "dvc.yaml"


def code_deps(stage: str) -> list[str]:
    """The files that a stage's outputs depend on, relative to the root."""
    return [path.relative_to(ROOT).as_posix() for path in code_of(stage)]


def problems(tree: dict[str, Any]) -> list[str]:
    """The files that are missing from the stages' deps, or superfluous in them."""
    found = []
    for stage, body in tree["stages"].items():
        listed = {dep for dep in body["deps"] if dep.startswith("stages/")}
        needed = set(code_deps(stage))
        found += [f"{stage}: {name} is imported and not listed" for name in sorted(needed - listed)]
        found += [f"{stage}: {name} is listed and not imported" for name in sorted(listed - needed)]
    return found


def main() -> None:
    """Check dvc.yaml, or fix it with --write."""
    parser = Parser(prog="python -m tools.dvc_deps", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="fix dvc.yaml")
    asked = parser.parse_args()
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    tree = yaml.load(DVC_YAML)
    if asked.write:
        for stage, body in tree["stages"].items():
            kept = [dep for dep in body["deps"] if not dep.startswith("stages/")]
            body["deps"] = kept + code_deps(stage)
        yaml.dump(tree, DVC_YAML)
    elif found := problems(tree):
        sys.exit("\n".join([*found, "to fix it: python -m tools.dvc_deps --write"]))


if __name__ == "__main__":
    program.run("dvc-deps", main)
