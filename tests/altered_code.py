"""Copies of stages/ in which the modules that may change no result say and measure something else."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

from stages.running.code_of import NO_INFLUENCE
from tests.root import ROOT

#: These name a run by what it depends on, so that their texts are part of a checkpoint's name.
NAMING = ("stages/running/run_key.py", "stages/running/code_of.py")

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
            every constant and every measured number is twice as large, and nothing is tracked.

    Returns:
        The folder.
    """
    shutil.copytree(ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    if altered:
        for part in NO_INFLUENCE:
            for path in sorted((folder / part).rglob("*.py")):
                if path.relative_to(folder).as_posix() not in NAMING:
                    path.write_text(alter(path.read_text(encoding="utf-8")), encoding="utf-8")
        tracker = folder / "stages" / "running" / "tracking" / "live.py"
        assert "class StageRun" in tracker.read_text(encoding="utf-8")
        with open(tracker, "a", encoding="utf-8") as file:
            file.write(_NO_TRACKER)
    return folder


def alter(source: str) -> str:
    """A module's source with other messages, constants and measured numbers."""
    tree = _Altered().visit(ast.parse(source))
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign) else None
        if isinstance(value, ast.Constant) and type(value.value) in (int, float):
            node.value = ast.Constant(2 * value.value)
    return ast.unparse(ast.fix_missing_locations(tree))


class _Altered(ast.NodeTransformer):
    """Swaps the case of every text of at least two words, and doubles what functions that give a number return."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        is_message = isinstance(node.value, str) and _TWO_WORDS.search(node.value)
        return ast.Constant(node.value.swapcase()) if is_message else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        if isinstance(node.returns, ast.Name) and node.returns.id in ("int", "float"):
            for inner in _statements(node):
                if isinstance(inner, ast.Return) and inner.value:
                    inner.value = ast.BinOp(ast.Constant(2), ast.Mult(), inner.value)
        return node


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
