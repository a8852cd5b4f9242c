"""Ten thousand malformed params.yaml: each is accepted as it is, or refused with the key that is wrong."""

from __future__ import annotations

import datetime
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stages.common.errors import ConfigError
from stages.common.secrecy import hidden
from stages.params import reading, whole
from tests.root import ROOT

PARTS = 10
EACH = 1000
#: Files of each part that are spoilt as text; reading YAML takes a hundred times as long as checking what it holds.
TEXTS = 40

ODD: list[Any] = [
    *(None, "", " ", "x", 0, -1, 1, 2**70, 1.5, -0.0, 1e308, float("nan"), float("inf"), True, False, [], {}, [None]),
    *({"a": 1}, [{"source": "x"}], ["base"], ["base", "base"], "\x00", "\ud800", "\x1b[2J", "é", "x" * 1000),
    *(datetime.date(2020, 1, 2), 10**400, b"x", "http://user:secret@host/x", {"rank": 0}, [[]], {None: 1}, {1: 2}),
]
SPLICES = [
    *("\t", ":", "- ", "[", "]", "{", "}", "&a ", "*a", "!!int ", "!!python/object:os.system ", "'", '"', "|", ">"),
    *("\x00", "\x85", "\u2028", "\ufeff", "#", "%YAML 9.9\n---\n", "---\n", "...\n", "<<: *a", "? ", "2020-13-45", "~"),
    *("1_000", "0x10", "0o17", ".nan", "!!binary x", "[" * 200, "a: " * 50),
]


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    found: dict[str, Any] = reading.read_values(ROOT / "params.yaml")
    return found


def spoil(tree: Any, random_: random.Random) -> Any:
    """The same tree with a value, a key or a section changed, put in or taken away."""
    if not isinstance(tree, dict) or not tree or random_.random() < 0.03:
        return random_.choice(ODD)
    key = random_.choice(list(tree))
    what = random_.random()
    if what < 0.05:
        return {one: value for one, value in tree.items() if one != key}
    if what < 0.1:
        return {(f"{one}s" if one == key else one): value for one, value in tree.items()}
    if what < 0.15:
        return tree | {random_.choice(("new", "", "a.b", 5, None, "Seed")): random_.choice(ODD)}
    return tree | {key: spoil(tree[key], random_)}


def keys_of(tree: Any, prefix: str = "") -> set[str]:
    """Every key of a tree, whole and by its last part."""
    found: set[str] = set()
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        found |= {f"{prefix}{key}", str(key)} | keys_of(value, f"{prefix}{key}.")
    return found


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.slow
def test_a_thousand_malformed_values(part: int, tree: dict[str, Any]) -> None:
    outcomes: Counter[str] = Counter()
    known = {*whole.known_keys()}
    for seed in range(part * EACH, (part + 1) * EACH):
        random_ = random.Random(seed)
        found = tree
        for _ in range(random_.choice((1, 1, 2, 5))):
            found = spoil(found, random_)
        error = None
        try:
            params = whole.check(found, "params.yaml")
        except ConfigError as raised:
            error = raised
        if error is not None:
            assert error.exit_code == 78
            str(error).encode("utf-8", "surrogatepass")
            assert "secret" not in hidden(str(error)), (seed, error)  # as the programs print it
            lines = error.what.splitlines()
            assert lines[0].startswith("params.yaml: "), (seed, error)
            for line in lines[1:]:
                named = line.removeprefix("  - ").partition(":")[0]
                assert named in known | keys_of(found) or any(key in line for key in known), (seed, line)
            outcomes["refused"] += 1
        else:
            assert whole.check(json.loads(params.model_dump_json()), "params.yaml") == params, seed
            outcomes["accepted"] += 1
    print(outcomes)
    assert outcomes["refused"] > EACH // 2
    assert outcomes["accepted"] > 0


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.slow
def test_malformed_texts(part: int, tmp_path: Path) -> None:
    """Of sections of params.yaml, which YAML takes less time to read than the whole."""
    lines = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path / "params.yaml"
    for seed in range(part * TEXTS, (part + 1) * TEXTS):
        random_ = random.Random(seed)
        start = random_.randrange(len(lines))
        text = "".join(line for line in lines[start : start + 60] if not line.lstrip().startswith("#"))
        for _ in range(random_.randint(1, 4)):
            at = random_.randrange(len(text) + 1)
            text = text[:at] + random_.choice(SPLICES) + text[at + random_.choice((0, 1, 20)) :]
        path.write_bytes(text.encode("utf-8", "surrogatepass") + random_.choice((b"", b"", b"\xff", b"\xed\xa0\x80")))
        before = path.read_bytes()
        with pytest.raises(ConfigError) as raised:
            whole.load(path)
        assert raised.value.exit_code == 78
        assert "params.yaml" in raised.value.what, seed
        assert path.read_bytes() == before
