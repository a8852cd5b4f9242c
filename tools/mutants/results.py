"""What came of mutants, kept from one run to the next in .cache/mutants.jsonl.

What is known of a mutant holds while its module is unchanged, and with it the test that killed it, or all test files
that it survived. What these use may change unnoticed: the option --fresh tries all mutants again.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.common.files import atomic_file
from tools.mutants.targets import ROOT

KEPT = ROOT / ".cache" / "mutants.jsonl"


class Results:
    """The outcomes that still hold, by module and name."""

    def __init__(self, path: Path = KEPT, *, root: Path = ROOT) -> None:
        self._path, self._root = path, root
        self._found: dict[tuple[str, str], dict[str, Any]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            try:
                entry = json.loads(line)
            except ValueError:  # of a run that was killed while it wrote
                continue
            self._found[entry["module"], entry["name"]] = entry

    def forget(self, modules: Collection[str]) -> None:
        """Forget all outcomes of some modules."""
        self._found = {key: entry for key, entry in self._found.items() if key[0] not in modules}
        if self._path.is_file():
            with atomic_file(self._path) as file:
                file.writelines(json.dumps(entry) + "\n" for entry in self._found.values())

    def of(self, module: str, tests: Sequence[str], name: str) -> dict[str, Any] | None:
        """The outcome of a mutant; None if it is not known or does not hold any longer."""
        entry = self._found.get((module, name))
        if entry is None or entry["sources"] != _sources(read([module, *tests], self._root), entry["killer"]):
            return None
        return entry

    def add(self, module: str, outcome: dict[str, Any], sources: Mapping[str, str]) -> None:
        """Keep an outcome.

        Args:
            module: the module.
            outcome: the `tools.mutants.session.Outcome` as a dictionary.
            sources: sources of the module and then of its test files, as they were when it was tried; see `read`.
        """
        entry = {"module": module, "sources": _sources(sources, outcome["killer"]), **outcome}
        self._found[module, outcome["name"]] = entry
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def read(names: Sequence[str], root: Path) -> dict[str, str]:
    """The sources of files below a folder, by name; empty of those that are not there."""
    return {name: (root / name).read_text(encoding="utf-8") if (root / name).is_file() else "" for name in names}


def _sources(sources: Mapping[str, str], killer: str | None) -> str:
    """The hash of the code that decides over a mutant, whatever its layout: the module, and the killer or all tests."""
    module, *tests = sources.values()
    parts = [_code(module, None)]
    if killer is None:
        parts += [_code(test, None) for test in tests]
    else:
        file, _, name = killer.partition("::")
        parts.append(_code(sources.get(file, ""), name.partition("[")[0]))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@functools.lru_cache(maxsize=64)
def _code(source: str, function: str | None) -> str:
    """The syntax tree of a module as text, or of one function in it; empty if it has no such function."""
    tree = ast.parse(source)
    if function is None:
        return ast.dump(tree)
    return "".join(ast.dump(node) for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
