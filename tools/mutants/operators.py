"""The errors that are put into a module, one at a time: what is changed, where, and under what name.

A mutant is one change of one node of the syntax tree:

- a comparison at its edge (``<`` to ``<=``) or turned round (``==`` to ``!=``), and a condition turned round;
- arithmetic (``+`` to ``-``, ``*`` to ``/``), ``and`` to ``or``, a ``not`` or a minus left out;
- a number one larger and one smaller, ``True`` to ``False``;
- a returned value to None, a keyword argument left out, ``min`` to ``max``, ``any`` to ``all``.

Texts, annotations, decorators and imports stay as they are, and ``strict`` of `zip`, which is of effect only where the
lengths of two things differ that a program makes equal.
"""

from __future__ import annotations

import ast
import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.USub: ast.UAdd,
}
#: The comparisons whose mutant says the opposite, so that a condition of one needs no other.
_OPPOSITES = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
_NAMES = {"min": "max", "minimum": "maximum", "amin": "amax", "any": "all"}
_NAMES |= {other: name for name, other in _NAMES.items()}

#: Fields of a node that are left as they are.
_LEFT_OUT = frozenset({"annotation", "returns", "decorator_list", "type_params", "bases"})
_STAY = (ast.JoinedStr, ast.Import, ast.ImportFrom)
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
#: Characters of a change that are shown.
_SHOWN = 100


@dataclass(frozen=True)
class Mutant:
    """One change of a module.

    Args:
        name: the function, what stands there and what it becomes; the same text again has a number. It stays the same
            when lines move.
        line: line of the change.
        first: first line of the statement that holds it, or of the head of a compound statement.
        last: last line of the same.
        function: qualified name of the outermost function around it; None of what is computed at import.
        make: function that makes the change in the syntax tree given to `mutants`; nothing takes it back.
    """

    name: str
    line: int
    first: int
    last: int
    function: str | None
    make: Callable[[], None]


@dataclass(frozen=True)
class _Place:
    """A node, the name of the function, class or constant around it, and the lines of its statement."""

    node: ast.AST
    scope: str = ""
    function: str | None = None
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class _Change:
    """What stands at a place, what it becomes, and what makes it so."""

    before: str
    after: str
    make: Callable[[], None]


def mutants(tree: ast.Module) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its syntax tree.

    Args:
        tree: the module.
    """
    seen: Counter[str] = Counter()
    for place in list(_places(tree)):
        for change in _changes(place.node):
            text = f"{place.scope or 'module'}: {_short(change.before)} -> {_short(change.after)}"
            seen[text] += 1
            yield Mutant(
                name=text if seen[text] == 1 else f"{text} ({seen[text]})",
                line=getattr(place.node, "lineno", place.first),
                first=place.first,
                last=place.last,
                function=place.function,
                make=change.make,
            )


def _places(tree: ast.Module) -> Iterator[_Place]:
    for statement in tree.body:
        yield from _within(_Place(statement))


def _within(place: _Place) -> Iterator[_Place]:
    """A node and all nodes in it, without those that stay as they are."""
    node = place.node
    if isinstance(node, _STAY) or (isinstance(node, ast.keyword) and node.arg == "strict"):
        return
    if isinstance(node, ast.stmt):
        place = replace(place, first=node.lineno, last=_end_of_head(node))
    yield place
    inner = replace(place, scope=".".join(filter(None, (place.scope, _name(node, place.scope)))))
    for name, value in ast.iter_fields(node):
        if name in _LEFT_OUT or (name == "keywords" and isinstance(node, ast.ClassDef)):
            continue
        # What a call of the function runs; its defaults are computed where it is defined.
        runs = isinstance(node, _FUNCTION) and name == "body"
        function = (place.function or inner.scope) if runs else place.function
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _within(replace(inner, node=child, function=function))


def _name(node: ast.AST, scope: str) -> str:
    """The name that a function, a class or a constant of the module gives to what is in it."""
    if isinstance(node, (*_FUNCTION, ast.ClassDef)):
        return node.name
    if not scope and isinstance(node, ast.Assign | ast.AnnAssign):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        return ast.unparse(target)
    return ""


def _end_of_head(node: ast.stmt) -> int:
    """The last line of a statement, without the statements inside it."""
    body = getattr(node, "body", None)
    return max(node.lineno, body[0].lineno - 1) if isinstance(body, list) else node.end_lineno or node.lineno


def _changes(node: ast.AST) -> list[_Change]:
    """The changes of one node; each changes the node itself."""
    match node:
        case ast.Compare():
            ops = [_OPERATORS.get(type(op)) for op in node.ops]
            return [_put(node, "ops", [*node.ops[:at], op(), *node.ops[at + 1 :]]) for at, op in enumerate(ops) if op]
        case ast.BinOp() | ast.AugAssign() | ast.BoolOp():
            other = _OPERATORS.get(type(node.op))
            return [_put(node, "op", other())] if other else []
        case ast.UnaryOp(op=ast.USub()) if not isinstance(node.operand, ast.Constant):
            return [_put(node, "op", ast.UAdd())]
        case ast.UnaryOp(op=ast.Not()):
            return [_put(node, "operand", ast.UnaryOp(ast.Not(), node.operand))]
        case ast.Constant(value=bool(value)):
            return [_put(node, "value", not value)]
        case ast.Constant(value=int(value) | float(value)):
            return [_put(node, "value", value + 1), _put(node, "value", value - 1)]
        case ast.Return(value=ast.expr()) if not _is_none(node.value):
            return [_put(node, "value", ast.Constant(None))]
        case ast.Call():
            return _of_call(node)
        case ast.If() | ast.While() | ast.IfExp() | ast.Assert():
            return _negated([node.test], lambda _, new: setattr(node, "test", new))
        case ast.comprehension():
            return _negated(node.ifs, node.ifs.__setitem__)
    return []


def _put(node: ast.AST, field: str, value: Any) -> _Change:
    """The change of a field to another value."""
    kept, before = getattr(node, field), ast.unparse(node)
    setattr(node, field, value)
    after = ast.unparse(node)
    setattr(node, field, kept)
    return _Change(before, after, functools.partial(setattr, node, field, value))


def _of_call(node: ast.Call) -> list[_Change]:
    """A keyword argument left out, and the opposite of what is called."""
    called = ast.unparse(node.func)
    found = []
    for at, keyword in enumerate(node.keywords):
        # A flag has its own change, and without it the call has the other value or the same.
        is_flag = isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, bool)
        if keyword.arg is not None and not is_flag:
            left = [*node.keywords[:at], *node.keywords[at + 1 :]]
            make = functools.partial(setattr, node, "keywords", left)
            found.append(_Change(f"{called}({ast.unparse(keyword)})", f"{called}()", make))
    for field in ("id", "attr"):
        if other := _NAMES.get(getattr(node.func, field, "")):
            change = _put(node.func, field, other)
            found.append(replace(change, before=f"{change.before}()", after=f"{change.after}()"))
    return found


def _negated(tests: list[ast.expr], put: Callable[[int, ast.expr], None]) -> list[_Change]:
    """Conditions turned round, of those that no other change turns round."""
    found = []
    for at, test in enumerate(tests):
        has_opposite = isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], _OPPOSITES)
        if not has_opposite and not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)):
            new = ast.UnaryOp(ast.Not(), test)
            found.append(_Change(f"if {ast.unparse(test)}", f"if {ast.unparse(new)}", functools.partial(put, at, new)))
    return found


def _is_none(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
