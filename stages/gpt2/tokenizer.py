"""GPT-2's byte-pair encoding: text to token ids and back, by tiktoken.

It is built from OpenAI's two files in a local folder, each checked against the SHA-256 that tiktoken pins
(tiktoken_ext/openai_public.py). tiktoken's own loader is not used: it reads a cache in the system's temporary folder or
in TIKTOKEN_CACHE_DIR, and downloads a file that is not in it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.common import files
from stages.common.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import tiktoken

VOCAB_BPE_SHA256 = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
ENCODER_JSON_SHA256 = "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"

#: The files that make a tokenizer, and the SHA-256 of each.
FILES = {"vocab.bpe": VOCAB_BPE_SHA256, "encoder.json": ENCODER_JSON_SHA256}
#: The same files as `transformers` names them.
FILES_OF_TRANSFORMERS = {"merges.txt": VOCAB_BPE_SHA256, "vocab.json": ENCODER_JSON_SHA256}

#: SHA-256 of the vocabulary in the order of its ids, in whatever order a file has it: see `_digest`.
VOCABULARY_SHA256 = "c1cd63c079fa2d95b4de13df6c318491301d7f2f51279d224242df8f15dcec9d"

END_OF_TEXT = 50256
VOCABULARY_SIZE = 50257

_END_OF_TEXT_NAME = "<|endoftext|>"


class Tokenizer:
    """GPT-2's tokenizer.

    Args:
        folder: folder with vocab.bpe and encoder.json, or the same files as `save_for_transformers` names them.
        made_by: the command that makes the folder, told to the user when a file is missing or wrong.

    Raises:
        DataError: a file is missing, or is not GPT-2's.
    """

    def __init__(self, folder: Path, *, made_by: str = "dvc repro download") -> None:
        import tiktoken
        from tiktoken_ext.openai_public import r50k_pat_str  # type: ignore[import-untyped]

        theirs = any((folder / name).exists() for name in FILES_OF_TRANSFORMERS)
        names = FILES_OF_TRANSFORMERS if theirs else FILES
        for name, expected in names.items():
            _check(folder / name, expected, made_by)
        self._merges, self._vocabulary = (folder / name for name in names)
        self._encoding = tiktoken.Encoding(
            name="gpt2",
            pat_str=r50k_pat_str,
            mergeable_ranks=_ranks(self._vocabulary),
            special_tokens={_END_OF_TEXT_NAME: END_OF_TEXT},
            explicit_n_vocab=VOCABULARY_SIZE,
        )

    def encode(self, text: str) -> list[int]:
        """The ids of a text. "<|endoftext|>" in it is ordinary text, never the token."""
        ids: list[int] = self._encoding.encode_ordinary(text)
        return ids

    @property
    def encoding(self) -> tiktoken.Encoding:
        """Tiktoken's own encoding."""
        return self._encoding

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """The same ids as an array, without a Python number for each."""
        ids: npt.NDArray[np.uint32] = self._encoding.encode_to_numpy(text, disallowed_special=())
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids. Bytes that are not UTF-8, such as half a character, become U+FFFD."""
        text: str = self._encoding.decode(list(ids), errors="replace")
        return text

    def save_for_transformers(self, folder: Path, *, context: int, chat_template: str | None = None) -> None:
        """Save the tokenizer in an existing folder, as `transformers.AutoTokenizer.from_pretrained` reads it.

        There is no padding token: one that is the end-of-text hides the end of the answers from collators that mask
        padding. Text is decoded as it is (``clean_up_tokenization_spaces`` would drop spaces before commas).

        Args:
            folder: the folder.
            context: the longest sequence of the model, in tokens.
            chat_template: the template of a conversation, in Jinja; None for a model that follows no instructions.
        """
        shutil.copyfile(self._vocabulary, folder / "vocab.json")
        shutil.copyfile(self._merges, folder / "merges.txt")
        special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), _END_OF_TEXT_NAME)
        config = {
            "tokenizer_class": "GPT2Tokenizer",
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": context,
            **special,
            **({} if chat_template is None else {"chat_template": chat_template}),
        }
        files.write_json(folder / "tokenizer_config.json", config)


def check_fast_file(folder: Path, *, made_by: str) -> None:
    """Check that a folder's tokenizer.json, in which `transformers` keeps a whole tokenizer, is GPT-2's.

    Only the vocabulary is compared: a token's id is its rank among the merges, so that it determines the merges too.

    Raises:
        DataError: the file exists, and has another vocabulary.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return
    tree = files.read_json(path, made_by=made_by)
    try:
        vocabulary = {token: int(number) for token, number in tree["model"]["vocab"].items()}
    except (KeyError, TypeError, AttributeError, ValueError):
        vocabulary = {}
    if (found := _digest(vocabulary)) != VOCABULARY_SHA256:
        raise DataError(
            f"{path}: these weights go with another tokenizer than GPT-2's: of its vocabulary expected SHA-256 "
            f"{VOCABULARY_SHA256}, found {found}",
            made_by,
        )


def _digest(vocabulary: dict[str, int]) -> str:
    """The SHA-256 of a vocabulary's tokens in the order of their ids, without the end-of-text, as JSON."""
    tokens = sorted(vocabulary.keys() - {_END_OF_TEXT_NAME}, key=lambda token: (vocabulary[token], token))
    return hashlib.sha256(json.dumps([[token, vocabulary[token]] for token in tokens]).encode()).hexdigest()


def _check(path: Path, expected: str, made_by: str) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such file", made_by)
    if (found := files.sha256(path)) != expected:
        raise DataError(f"{path}: not GPT-2's file: expected SHA-256 {expected}, found {found}", made_by)


def _ranks(encoder: Path) -> dict[bytes, int]:
    """Every mergeable token's bytes with its id, which is also its rank among the merges (tiktoken asserts that)."""
    byte_of = _byte_of_character()
    tokens: dict[str, int] = json.loads(encoder.read_text(encoding="utf-8"))
    return {
        bytes(byte_of[character] for character in token): number
        for token, number in tokens.items()
        if token != _END_OF_TEXT_NAME
    }


def _byte_of_character() -> dict[str, int]:
    """The byte that each character of encoder.json stands for.

    A printable byte stands for itself. The n-th of the others, the space among them, is written as character 256 + n:
    "Ġ" (U+0120) is the space. See `bytes_to_unicode` in GPT-2's release, and tiktoken/load.py.
    """
    plain = [byte for byte in range(256) if chr(byte).isprintable() and chr(byte) != " "]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}
