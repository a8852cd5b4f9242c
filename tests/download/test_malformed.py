"""Ten thousand malformed datasets: each is read, or refused in words, and what was there before stays."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.common import files
from stages.common.errors import ConfigError, DataError
from stages.common.results.download import DATASET
from stages.download import dataset, left_out, source
from stages.download.rows_file import DatasetWriter
from stages.params.download import DataSource
from stages.split.checks import near
from stages.split.splits import with_ids
from tests.download.test_stage import Project

#: Parts of the whole, which share it out over pytest's processes, and the datasets of each.
PARTS = 20
EACH = 500

BEFORE = "what was there before"
#: Where in the file something is, or what it is as a whole.
PLACES = re.compile(
    r"row \d+|line \d+|byte \d+|column|rows? have|found (an? |the |columns|UTF-16|JSON)|not a whole gzip file|"
    r"not a Parquet file|nested too deeply|thousands of digits|first [\d,]+ rows|in 0 rows|found \d+"
)

Rows = list[dict[str, Any]]
ODD: list[Any] = [
    *(
        None,
        "",
        " ",
        0,
        -1,
        1.5,
        True,
        float("nan"),
        float("inf"),
        [],
        {},
        [None],
        {"a": {"b": []}},
        "N/A",
        "<noinput>",
    ),
    *("\x00", "\x1b[2J", "\ud800", "\x85", "\u2028", "\ufeff", "### Response:", "<|end|>", "x" * 5000, "é", "🙂" * 9),
    *(10**400, [[[[]]]], {"role": "user"}, {"role": "user", "content": None}, ["a", "b"], {"from": 1, "value": []}),
]
SPLICES = [
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r"),
    *(b"\\", b"\\u12", b"\\ud83d", b"\t", b";", b"|", b"NaN", b"-Infinity", b"1e999", b"null", b"[" * 3000, b"{}"),
    *(b"<html>", b"\x1f\x8b", b"PAR1", b"%PDF", b"version https://git-lfs.github.com/spec/v1", b'{"a": 1, "a": 2}'),
]


def good(random_: random.Random) -> Rows:
    """Rows of one of the kinds that are read."""
    count = random_.randint(1, 7)
    kinds: list[Callable[[int], dict[str, Any]]] = [
        lambda n: {"instruction": f"Say {n}.", "input": "", "output": str(n), "category": "c"},
        lambda n: {"prompt": f"Say {n}.", "completion": str(n)},
        lambda n: {"instruction": f"Say {n}.", "context": "It is.", "response": str(n), "category": "c"},
        lambda n: {"messages": [{"role": "user", "content": f"Say {n}."}, {"role": "assistant", "content": str(n)}]},
        lambda n: {"conversations": [{"from": "human", "value": f"Say {n}."}, {"from": "gpt", "value": str(n)}]},
        lambda n: {"conversations": [f"Say {n}.", str(n)]},
        lambda n: {"instruction": f"Say {n}.", "instances": [{"input": "", "output": str(n)}]},
        lambda n: {
            "message_id": str(n),
            "parent_id": str(n - 1) if n % 2 else None,
            "text": f"Say {n}.",
            "rank": 0,
            "role": "assistant" if n % 2 else "prompter",
        },
    ]
    kind = random_.choice(kinds)
    return [kind(number) for number in range(count)]


def spoil(rows: Any, random_: random.Random) -> Any:
    """The same with an odd value, another key, or without a part, at any depth."""
    if isinstance(rows, list) and rows and random_.random() < 0.8:
        at = random_.randrange(len(rows))
        return [*rows[:at], *([] if random_.random() < 0.1 else [spoil(rows[at], random_)]), *rows[at + 1 :]]
    if isinstance(rows, dict) and rows and random_.random() < 0.9:
        key = random_.choice(list(rows))
        if random_.random() < 0.2:
            return {(f"{one}x" if one == key else one): value for one, value in rows.items()}
        return rows | {key: spoil(rows[key], random_)}
    return random_.choice(ODD)


def written(rows: Any, random_: random.Random) -> bytes:
    """Rows in one of the file formats."""
    form = random_.randrange(6)
    if form == 0:
        return json.dumps(rows).encode()
    if form == 1:
        return json.dumps(rows, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")
    if form == 2:
        return json.dumps({"data": rows, "version": 1}).encode()
    if form == 3 and isinstance(rows, list) and all(isinstance(row, dict) for row in rows) and rows:
        separator = random_.choice(",\t;|")
        table = [separator.join(map(str, rows[0]))]
        table += [separator.join(json.dumps(value)[:200] for value in row.values()) for row in rows]
        return "\n".join(table).encode("utf-8", "surrogatepass")
    if form == 4:
        try:
            return parquet(rows)
        except Exception:  # pyarrow takes no such rows
            return json.dumps(rows).encode()
    return "".join(json.dumps(row) + "\n" for row in (rows if isinstance(rows, list) else [rows])).encode()


def parquet(rows: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def malformed(seed: int) -> tuple[bytes, str, dict[str, Any]]:
    """The content of a file, its name, and how it is to be read."""
    random_ = random.Random(seed)
    rows: Any = good(random_)
    for _ in range(random_.choice((0, 1, 1, 2))):
        rows = spoil(rows, random_)
    content = written(rows, random_)
    for _ in range(random_.choice((0, 0, 1, 2))):
        at, length = random_.randrange(len(content) + 1), random_.choice((0, 1, 5, 50))
        content = content[:at] + random_.choice((b"", *SPLICES)) + content[at + length :]
    if random_.random() < 0.1:
        content = gzip.compress(content, mtime=0)
        content = content[: random_.choice((len(content), len(content) - 5, 12))]
    how: dict[str, Any] = {"on_invalid": random_.choice(("refuse", "drop")), "clean": random_.random() < 0.5}
    how["placeholder_answers"] = random_.random() < 0.2
    if random_.random() < 0.1:
        how["fields"] = {random_.choice(("instruction", "output", "input")): random_.choice(("prompt", "nothing"))}
    return content, random_.choice(("rows.csv", "rows.json", "rows.tsv", "rows")), how


def bring(folder: Path, seed: int) -> str:
    """Read a malformed dataset as the stage does; what came of it."""
    content, name, how = malformed(seed)
    (folder / "data" / name).write_bytes(content)
    settings = DataSource.model_validate({"source": f"data/{name}", "sha256": None, **how})
    error: DataError | ConfigError | None = None
    try:
        with files.atomic_file(DATASET) as stream:
            rows = DatasetWriter(stream)
            found = source.fetch_rows(settings, rows)
            rows.close()
    except (DataError, ConfigError) as raised:
        error = raised
    if error is not None:
        assert error.exit_code in (65, 78), seed
        assert DATASET.read_text() == BEFORE, seed
        assert error.fix, (seed, error)
        assert settings.source in error.what or "download.data" in error.what, (seed, error)
        assert PLACES.search(error.what) or "download.data" in error.what, (seed, error.what)
        str(error).encode("utf-8")
        return type(error).__name__
    json.dumps(left_out.report(found.read, len(rows)), ensure_ascii=False).encode("utf-8")
    near.find(with_ids(dataset.each(DATASET, name="rows", fix="", extra=True)))
    DATASET.write_text(BEFORE)
    return "read"


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.slow
def test_five_hundred_malformed_datasets(
    part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    DATASET.parent.mkdir(parents=True)
    DATASET.write_text(BEFORE)
    outcomes = Counter(bring(tmp_path, seed) for seed in range(part * EACH, (part + 1) * EACH))
    print(outcomes)
    assert outcomes["read"] > EACH // 50, "some are whole, or good once their rows are dropped"
    assert outcomes["DataError"] > EACH // 4
    assert [path.name for path in DATASET.parent.iterdir()] == [DATASET.name]


@pytest.mark.thorough
def test_the_program_refuses_them_without_a_traceback(tmp_path: Path) -> None:
    """The first few that are refused, each in a process of its own."""
    project = Project(tmp_path)
    (tmp_path / DATASET).parent.mkdir(parents=True)
    (tmp_path / DATASET).write_text(BEFORE)
    told = 0
    for seed in range(6):
        content, name, how = malformed(seed)
        (tmp_path / "data" / name).write_bytes(content)
        project.tree["download"]["data"] = {"source": f"data/{name}", "sha256": None, **how}
        code, said = project.run()
        if code:
            told += 1
            assert code in (65, 78), (seed, said)
            assert "to fix it: " in said, (seed, said)
            assert (tmp_path / DATASET).read_text() == BEFORE
    assert told >= 3
