"""Mutation testing (tools/mutants): which mutants a module has, what comes of them, and what is kept and said."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import textwrap
import time

import pytest

from tests.root import ROOT
from tools.mutants import __main__ as program
from tools.mutants import targets
from tools.mutants.__main__ import Tried
from tools.mutants.operators import mutants
from tools.mutants.results import Results, read
from tools.mutants.session import _forked
from tools.mutants.targets import TARGETS, modules, mutants_of, target_of


def names(source: str) -> list[str]:
    return [mutant.name for mutant in mutants(ast.parse(textwrap.dedent(source)))]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", ["a < b -> a <= b"]),
        ("x = a == b", ["a == b -> a != b"]),
        ("x = a < b < c", ["a < b < c -> a <= b < c", "a < b < c -> a < b <= c"]),
        ("x = a + b", ["a + b -> a - b"]),
        ("x = a @ b", []),
        ("x = a and b", ["a and b -> a or b"]),
        ("x = not a", ["not a -> not not a"]),
        ("x = -a", ["-a -> +a"]),
        ("x = 3", ["3 -> 4", "3 -> 2"]),
        ("x = -1", ["1 -> 2", "1 -> 0"]),
        ("x = True", ["True -> False"]),
        ("x = 'text', f'{1 + 1}', None", []),
        ("x = min(a)", ["min() -> max()"]),
        ("x = a.min()", ["a.min() -> a.max()"]),
        ("x = f(a, b=c)", ["f(b=c) -> f()"]),
        ("x = f(b=True)", ["True -> False"]),
        ("x = zip(a, b, strict=True)", []),
        ("x = a if b else c", ["if b -> if not b"]),
        ("x = a if b is c else d", ["b is c -> b is not c"]),
        ("x = [a for a in b if a]", ["if a -> if not a"]),
    ],
)
def test_the_mutants_of_an_expression(source, expected):
    assert names(source) == [f"x: {change}" for change in expected]


def test_the_mutants_of_a_function_have_its_name_and_a_number_where_they_are_the_same():
    found = names(
        """
        import os

        class C:
            @decorated(1)
            def f(self, a: Literal[1] = 2) -> int:
                '''1 + 1'''
                a += 1
                if a:
                    return 2
                return None
        """
    )

    assert found == [
        "C.f: 2 -> 3",
        "C.f: 2 -> 1",
        "C.f: a += 1 -> a -= 1",
        "C.f: 1 -> 2",
        "C.f: 1 -> 0",
        "C.f: if a -> if not a",
        "C.f: return 2 -> return None",
        "C.f: 2 -> 3 (2)",
        "C.f: 2 -> 1 (2)",
    ]


def test_a_mutant_knows_its_function_and_the_lines_of_its_statement():
    tree = ast.parse("def f(a=1):\n    def g():\n        return (\n            b + c\n        )\n    return g\n")
    found = {mutant.name: (mutant.function, mutant.line, mutant.first, mutant.last) for mutant in mutants(tree)}

    assert found["f: 1 -> 2"] == (None, 1, 1, 1)
    assert found["f.g: b + c -> b - c"] == ("f", 4, 3, 5)


def test_a_mutant_makes_its_change_and_no_other():
    tree = ast.parse("x = a < b + 1")
    next(mutants(tree)).make()

    assert ast.unparse(tree) == "x = a <= b + 1"


MODULE = """\
import dataclasses
import fractions
import typing

LIMIT = 10
SHARE = fractions.Fraction(1, 3)
SIZES = range(1, 3)
UNSEEN = 1


def larger(a, b=2):
    return a > b


def far(a):
    return a >= LIMIT


def forever(n):
    while n > 0:
        n -= 1
    return n


def nobody_calls(a):
    return a + 1


@dataclasses.dataclass
class C:
    size: int = 3
    names: list = dataclasses.field(default_factory=list)
    last: int = 0

    @property
    def twice(self):
        return self.size * 2


@typing.overload
def either(a: int) -> int: ...
@typing.overload
def either(a: str) -> str: ...
def either(a):
    return a * 2
"""

TESTS = """\
import subprocess
import sys

from code_under_test import C, LIMIT, SHARE, SIZES, either, far, forever, larger


def test_larger():
    assert larger(3) and not larger(2)


def test_far():
    assert far(10) and not far(9) and LIMIT == 10


def test_sizes():
    assert list(SIZES) == [1, 2] and str(SHARE) == "1/3"


def test_forever():
    assert forever(3) == 0


def test_twice():
    assert C().twice == 6 and C().last == 0


def test_either():
    assert either(4) == 8
"""


def session(tmp_path, module, tests):
    """A session over all mutants of a module, in a folder ``copy`` of its own."""
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "code_under_test.py").write_text(module)
    (folder / "test_it.py").write_text(tests)
    plan = tmp_path / "plan.json"
    plan.write_text(
        json.dumps({"module": "code_under_test.py", "tests": ["test_it.py"], "names": names(module), "seconds": 1.0})
    )
    return subprocess.run(
        [sys.executable, "-m", "tools.mutants.session", str(plan)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.thorough
def test_what_comes_of_mutants(tmp_path):
    """Each in a process of its own: in functions, methods, constants, and the defaults of arguments and fields."""
    chosen = names(MODULE)

    done = session(tmp_path, MODULE, TESTS)

    assert done.returncode == 0, done.stderr
    found = {outcome["name"]: outcome for outcome in map(json.loads, done.stdout.splitlines())}
    assert list(found) == chosen
    survivors = [name for name, outcome in found.items() if outcome["killer"] is None]
    assert survivors == [
        "UNSEEN: 1 -> 2",
        "UNSEEN: 1 -> 0",
        "nobody_calls: return a + 1 -> return None",
        "nobody_calls: a + 1 -> a - 1",
        "nobody_calls: 1 -> 2",
        "nobody_calls: 1 -> 0",
    ]
    assert found["nobody_calls: 1 -> 2"]["tests"] == 0
    assert found["larger: a > b -> a >= b"]["killer"] == "test_it.py::test_larger"
    assert found["C: dataclasses.field(default_factory=list) -> dataclasses.field()"]["killer"]
    assert found["C: 3 -> 4"]["killer"] == "test_it.py::test_twice"
    assert [name for name, outcome in found.items() if outcome["timed_out"]] == [
        "forever: n -= 1 -> n += 1",
        "forever: 1 -> 0",
    ]
    assert (tmp_path / "copy" / "code_under_test.py").read_text() == MODULE


@pytest.mark.thorough
def test_where_putting_the_same_code_in_fails_a_test_no_mutant_is_tried(tmp_path):
    """Every mutant would count as killed: the test holds what the module made at its first import."""
    done = session(
        tmp_path,
        "import time\n\nSTART = time.perf_counter_ns() + 1\n",
        "import code_under_test\n\nKEPT = code_under_test.START\n\n"
        "def test_it():\n    assert code_under_test.START == KEPT\n",
    )

    assert done.returncode != 0
    assert done.stdout == ""
    assert "code_under_test.py: test_it.py::test_it fails where nothing was changed" in done.stderr


@pytest.mark.thorough
def test_a_test_is_too_slow_by_what_it_computes_unless_it_waits_for_ever():
    """With 3 seconds of computing it may wait for 12."""

    def compute():
        while True:
            pass

    def tried(work, limit):
        return _forked(work, lambda _: None, [limit])[0]

    assert tried(lambda: time.sleep(3.5) or 0, 3.0) == 0
    assert tried(compute, 0.5) is None
    assert tried(lambda: time.sleep(600), 0.2) is None


def outcome(name: str, killer: str | None) -> dict[str, object]:
    return {"name": name, "line": 1, "killer": killer, "tests": 1, "timed_out": False}


@pytest.fixture
def repository(tmp_path):
    for name in ("m.py", "test_a.py", "test_b.py"):
        (tmp_path / name).write_text("def test_it():\n    assert True\n")
    return tmp_path


def test_an_outcome_holds_until_its_module_or_the_tests_that_decided_change(repository):
    tests = ["test_a.py", "test_b.py"]
    kept = repository / ".cache" / "kept.jsonl"
    results = Results(kept, root=repository)
    sources = read(["m.py", *tests], repository)
    results.add("m.py", outcome("killed", "test_b.py::test_it[1]"), sources)
    results.add("m.py", outcome("survived", None), sources)

    def known():
        again = Results(kept, root=repository)
        return [again.of("m.py", tests, name) is not None for name in ("killed", "survived", "another")]

    assert known() == [True, True, False]
    (repository / "test_a.py").write_text("def test_it():  # laid out in another way\n\n    assert True\n")
    assert known() == [True, True, False]
    (repository / "test_b.py").write_text("def test_it():\n    assert True\ndef test_more():\n    assert False\n")
    assert known() == [True, False, False]
    (repository / "test_b.py").write_text("def test_it():\n    assert 1 < 2\n")
    assert known() == [False, False, False]


def test_a_line_that_was_cut_off_loses_only_itself(repository):
    kept = repository / "kept.jsonl"
    Results(kept, root=repository).add("m.py", outcome("one", None), read(["m.py"], repository))
    with open(kept, "a") as file:
        file.write('{"module": "m.py", "na')

    assert Results(kept, root=repository).of("m.py", [], "one") is not None


def test_the_outcomes_of_some_modules_can_be_forgotten_and_the_others_stay(repository):
    kept = repository / "kept.jsonl"
    results = Results(kept, root=repository)
    for module in ("m.py", "test_a.py"):
        results.add(module, outcome("one", None), read([module], repository))

    results.forget(["m.py", "unknown.py"])

    for known in (results, Results(kept, root=repository)):
        assert known.of("m.py", [], "one") is None
        assert known.of("test_a.py", [], "one") is not None
    Results(repository / "none.jsonl", root=repository).forget(["m.py"])
    assert not (repository / "none.jsonl").exists()


LOSS = "stages/finetune/loss.py"


def test_the_report_has_the_score_of_all_and_names_the_survivors_that_nobody_explains():
    tried = [Tried(LOSS, f"m{number}", number, "test") for number in range(7)]
    tried += [Tried(LOSS, "known", 8, None), Tried(LOSS, "new", 9, None), Tried(LOSS, "also", 10, None)]

    lines = list(program.report(tried, {(LOSS, "known"): "it is the same"}))

    assert lines[1].split() == [LOSS, "10", "7", "70.0%", "1"]
    assert lines[2:] == ["3 survivors", f"  {LOSS}:9 new", f"  {LOSS}:10 also"]


def test_the_report_has_a_line_for_each_module_of_a_folder_and_one_for_all():
    splits, stored = "stages/split/splits.py", "stages/split/stored.py"
    tried = [Tried(splits, "a", 1, "test"), Tried(splits, "b", 1, None), Tried(stored, "c", 1, "test")]
    tried.append(Tried(LOSS, "d", 1, "test"))

    lines = [line.split() for line in program.report(tried, {(splits, "b"): "it is the same"})]

    assert lines == [
        ["code", "mutants", "killed", "score", "explained"],
        [LOSS, "1", "1", "100.0%", "0"],
        [splits, "2", "1", "50.0%", "1"],
        [stored, "1", "1", "100.0%", "0"],
        ["stages/split/", "3", "2", "66.7%", "1"],
        ["together", "4", "3", "75.0%", "1"],
        ["1", "survivors"],
    ]


def test_what_is_wrong_is_a_survivor_that_nobody_explains_an_explanation_of_none_and_a_low_score():
    tried = [Tried(LOSS, "a", 1, "test"), Tried(LOSS, "b", 2, None)]

    def wrong(explained, everything=None):
        return list(program.problems(tried, {(LOSS, name): "why" for name in explained}, everything))

    assert wrong(["b"]) == []
    assert wrong([]) == ["1 survivors are neither killed by a test nor explained in tools/mutants/survivors.yaml"]
    assert wrong(["b", "a"]) == [f"tools/mutants/survivors.yaml: {LOSS}: a: it is killed"]
    assert wrong(["b", "c"], {LOSS: ["a", "b"]}) == [
        f"tools/mutants/survivors.yaml: {LOSS}: c: no such mutant",
        f"{LOSS}: less than 90% of its mutants are killed",
    ]


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_mutants_and_tests(target):
    found = modules(target)

    assert found
    assert any(mutants_of(target, module) for module in found)
    for module in found:
        assert target_of(module) == target
        assert [name for name in targets.tests_of(module) if not (ROOT / name).is_file()] == []


def test_what_is_explained_is_a_mutant():
    """An explanation goes with the code: after a change it is written anew, or removed."""
    there = {
        (module, mutant.name)
        for target in TARGETS
        for module in modules(target)
        for mutant in mutants_of(target, module)
    }

    assert sorted(set(program.explanations()) - there) == []
    assert all(len(why) > 20 for why in program.explanations().values())
