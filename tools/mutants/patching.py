"""Puts a mutant into a module that is imported already, in this process and for good."""

from __future__ import annotations

import ast
import gc
import re
import sys
from collections.abc import Iterator
from numbers import Number
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tools.mutants.operators import Mutant

#: Values of constants, fractions among them; whatever else a module makes at import is left as it is.
_PLAIN = (Number, str, tuple, range, frozenset, set, dict, list, re.Pattern, type(None))
#: The file of the methods that `dataclasses` writes.
_WRITTEN = "<string>"


class CannotBeImported(Exception):
    """A mutant that fails at import, which every test of its module would notice."""


def module_of(path: str) -> ModuleType | None:
    """The imported module of a file; None if it is not imported."""
    return next((found for found in list(sys.modules.values()) if getattr(found, "__file__", None) == path), None)


def functions_of(path: str) -> dict[tuple[str, int], list[FunctionType]]:
    """All functions that were made from a file, by qualified name and first line."""
    found: dict[tuple[str, int], list[FunctionType]] = {}
    for one in gc.get_objects():
        if type(one) is FunctionType and one.__code__.co_filename == path:
            found.setdefault(_place(one.__code__), []).append(one)
    return found


def put(mutant: Mutant, tree: ast.Module, path: str, functions: dict[tuple[str, int], list[FunctionType]]) -> str:
    """Make a mutant's change in the module that is imported from a file, if it is imported.

    Functions that are imported elsewhere are changed too: it is their code that is exchanged.

    Args:
        mutant: the mutant.
        tree: the syntax tree of which it is a mutant; it is changed.
        path: the module's file.
        functions: those of the file, as `functions_of` finds them.

    Returns:
        The source of the changed module.

    Raises:
        CannotBeImported: the module could not be imported with the change.
        KeyError: the function to be changed is not there.
    """
    mutant.make()
    ast.fix_missing_locations(tree)
    if module := module_of(path):
        code = compile(tree, path, "exec")
        if mutant.function is None:
            _execute_again(module, code)
        else:
            # Of one name there are several where it is overloaded; all but the one with the change stay as they are.
            changed = [found for found in _codes(code) if found.co_qualname == mutant.function]
            if not any(_place(one) in functions for one in changed):
                raise KeyError(mutant.function)
            for one in changed:
                for function in functions.get(_place(one), ()):
                    function.__code__ = one
    return ast.unparse(tree)


def _place(code: CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


def _codes(code: CodeType) -> Iterator[CodeType]:
    """All code in a code object."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _execute_again(module: ModuleType, code: CodeType) -> None:
    """Take over the constants, the defaults of arguments and the fields' defaults that changed code makes at import."""
    fresh: dict[str, Any] = {"__name__": module.__name__, "__file__": module.__file__}
    try:
        exec(code, fresh)  # noqa: S102 our own module
    except Exception as error:
        raise CannotBeImported from error
    for name, new in fresh.items():
        old = vars(module).get(name)
        if isinstance(new, FunctionType) and isinstance(old, FunctionType):
            _take_defaults(old, new)
        elif isinstance(new, type) and isinstance(old, type) and new.__module__ == module.__name__:
            _take_class(old, new)
        elif isinstance(new, _PLAIN) and not name.startswith("__") and new != old:
            for other in list(sys.modules.values()):
                if vars(other).get(name) is old:
                    setattr(other, name, new)


def _take_class(old: type, new: type) -> None:
    for name, value in list(vars(new).items()):
        before = vars(old).get(name)
        if isinstance(value, FunctionType) and isinstance(before, FunctionType):
            if value.__code__.co_filename == _WRITTEN:
                setattr(old, name, value)
            else:
                _take_defaults(before, value)
        elif isinstance(value, _PLAIN) and not name.startswith("__") and value != before:
            setattr(old, name, value)


def _take_defaults(old: FunctionType, new: FunctionType) -> None:
    if old.__module__ == new.__module__:
        old.__defaults__, old.__kwdefaults__ = new.__defaults__, new.__kwdefaults__
