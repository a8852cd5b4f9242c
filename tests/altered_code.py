"""Copies of stages/ in which the modules that may change no result say and measure something else."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
from collections.abc import Set
from pathlib import Path
from typing import Any

from stages.running.code_of import NO_INFLUENCE
from tests.root import ROOT

#: What tells and counts: whatever plain value its functions give is altered. Elsewhere only numbers with a fraction
#: are: a text may be a path there, a whole number a file descriptor, a flag may say that a lock is held.
TELLING = (
    "stages/finetune/costs/",
    "stages/running/answer_progress.py",
    "stages/running/console.py",
    "stages/running/out_of_memory.py",
    "stages/running/summary.py",
    "stages/running/summary_parts/",
    "stages/running/tracking/metric_names.py",
)
#: Names in the annotation of a plain value, and those of its items.
PLAIN = frozenset({"bool", "int", "float", "str"})
OF_PLAIN = PLAIN | {"dict", "list", "tuple", "Iterator", "Sequence", "Figures"}
FRACTIONS = frozenset({"float"})
#: Functions that keep their values, and why.
KEPT = {
    "fits": "a training that does not fit is refused, and has no result to compare",
    "steady": "the numbers of steps, by which the ledger looks up the work of each",
}

#: These name a run by what it depends on, so that their texts are part of a checkpoint's name.
NAMING = ("stages/running/run_key.py", "stages/running/code_of.py")

#: The module of `altered` in a copy.
HELPER = "altered"
_IMPORT = ast.parse(f"from stages.running.{HELPER} import altered").body

_TWO_WORDS = re.compile(r"[a-z] [a-z]", re.IGNORECASE)

#: Put behind the tracker's own class.
_NO_TRACKER = """
class StageRun:
    under_flow = False

    def __init__(self, stage):
        pass

    def __getattr__(self, name):
        return lambda *_, **__: None
"""


def copy(folder: Path, *, altered: bool = False) -> Path:
    """Copy stages/ into a folder.

    Args:
        folder: where the copy goes; put it on PYTHONPATH.
        altered: whether the modules in the folders of `NO_INFLUENCE` are changed: every message has other letters,
            every constant is twice as large, functions give other values (`TELLING`), and nothing is tracked.

    Returns:
        The folder.
    """
    shutil.copytree(ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    if altered:
        for part in NO_INFLUENCE:
            for path in sorted((folder / part).rglob("*.py")):
                name = path.relative_to(folder).as_posix()
                if name not in NAMING:
                    path.write_text(alter(path.read_text(encoding="utf-8"), kinds(name)), encoding="utf-8")
        tracker = folder / "stages" / "running" / "tracking" / "live.py"
        assert "class StageRun" in tracker.read_text(encoding="utf-8")
        with open(tracker, "a", encoding="utf-8") as file:
            file.write(_NO_TRACKER)
    helper = folder / "stages" / "running" / f"{HELPER}.py"
    helper.write_text(f"from typing import Any\n\n\n{inspect.getsource(_altered)}\n\naltered = _altered\n")
    return folder


def kinds(name: str) -> Set[str]:
    """The names in the annotations of values that are altered in a module."""
    return OF_PLAIN if name.startswith(TELLING) else FRACTIONS


def _altered(value: Any) -> Any:
    """Another value of the same kind: a flag turned round, a number twice as large, a text with more at its end."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return 2 * value
    if isinstance(value, str):
        return f"{value} (altered)"
    if isinstance(value, list | tuple):
        return type(value)(map(_altered, value))
    if isinstance(value, dict):
        return {key: _altered(item) for key, item in value.items()}
    return value


def alter(source: str, kinds: Set[str] = FRACTIONS) -> str:
    """A module's source with other messages, constants and values.

    Args:
        source: the source.
        kinds: the names in the return annotation of a function whose values are altered.
    """
    tree = _Alter(kinds).visit(ast.parse(source))
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign) else None
        if isinstance(value, ast.Constant) and type(value.value) in (int, float):
            node.value = ast.Constant(2 * value.value)
    tree.body[_header(tree) : _header(tree)] = _IMPORT
    return ast.unparse(ast.fix_missing_locations(tree))


def _header(tree: ast.Module) -> int:
    """The number of statements that have to come first: the docstring and imports from the future."""
    first = (isinstance(n, ast.Expr) or (isinstance(n, ast.ImportFrom) and n.module == "__future__") for n in tree.body)
    return next((number for number, is_header in enumerate(first) if not is_header), len(tree.body))


class _Alter(ast.NodeTransformer):
    """Swaps the case of every text of at least two words, and alters what functions of some kinds give."""

    def __init__(self, kinds: Set[str]) -> None:
        self.kinds = kinds

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        is_message = isinstance(node.value, str) and _TWO_WORDS.search(node.value)
        return ast.Constant(node.value.swapcase()) if is_message else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        if self.is_altered(node):
            for inner in _statements(node):
                if isinstance(inner, ast.Return | ast.Yield) and inner.value:
                    inner.value = ast.Call(ast.Name("altered"), [inner.value], [])
        return node

    def is_altered(self, node: ast.FunctionDef) -> bool:
        """Whether a function gives a value of these kinds."""
        named = {inner.id for inner in ast.walk(node.returns or node.args) if isinstance(inner, ast.Name)}
        return bool(node.returns and named & PLAIN and named <= self.kinds) and node.name not in KEPT


def _statements(function: ast.FunctionDef) -> list[ast.AST]:
    """All nodes of a function but those of the functions inside it."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        found.append(node)
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return found
