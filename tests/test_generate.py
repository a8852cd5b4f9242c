"""The stage: what it writes, how it goes on after a kill, and what it refuses before it answers anything."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages import generate
from stages.common import params, paths
from stages.common.errors import DataError
from stages.sft.journal import Journal
from tests import small_pipeline

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = paths.TUNED_MODEL / "model.safetensors"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which all stages before `generate` have run, with 20 test rows."""
    overlay = {
        "split": {"train": 0.3, "test": 0.6},
        "generate": {"max_new_tokens": 12, "batch_size": 2},
    }
    folder = small_pipeline.make(tmp_path_factory.mktemp("trained"), overlay=overlay, data=small_pipeline.rows(34))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PIPELINE_MLFLOW_RUN_ID", "none")
        for stage in ("download", "split", "tokenize", "finetune"):
            importlib.import_module(f"stages.{stage}").main()
        generate.main()
    return folder


@pytest.fixture
def project(trained, tmp_path, monkeypatch):
    """A copy of it, as the working directory."""
    shutil.copytree(trained, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def results() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths.GENERATE.iterdir()}


def journals() -> list[Path]:
    return list((paths.CACHE / "generate").glob("*.jsonl"))


def responses() -> list[dict]:
    return [json.loads(line) for line in paths.RESPONSES.read_bytes().splitlines()]


def set_generate(project: Path, **values) -> None:
    small_pipeline.write_params(project, {"generate": values})


def test_a_killed_run_goes_on_to_the_same_bytes(project, capsys):
    expected = results()
    shutil.rmtree(paths.GENERATE)
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.generate"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while sum(path.read_bytes().count(b"\n") for path in journals()) < 7:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    kept = sum(path.read_bytes().count(b"\n") for path in journals())
    assert process.returncode == -signal.SIGKILL
    assert not paths.RESPONSES.exists()

    generate.main()

    assert results() == expected
    said = capsys.readouterr().out
    behind = [int(number) for number in re.findall(r"going on behind (\d+) answers", said)]
    assert sum(behind) in (kept, kept - 20), "a model whose answers are all there is not asked again"
    assert journals() == []


def test_in_bf16_a_window_that_was_begun_is_answered_anew_and_the_effect_is_told(project, capsys):
    set_generate(project, precision="bf16", models=["tuned"])
    generate.main()
    expected = results()
    path = journal()
    whole = paths.RESPONSES.read_text().splitlines(keepends=True)
    path.write_text("".join(whole[:16] + whole[16:19]))  # the first window of 8 batches of 2, and 3 rows of the next
    capsys.readouterr()

    generate.main()

    assert results() == expected
    assert "going on behind 16 answers" in capsys.readouterr().out
    found = json.loads(paths.GENERATE_METRICS.read_text())["tuned"]
    assert found["bf16_compared"] == 16
    assert 0 <= found["bf16_changed"] <= 1


def journal() -> Path:
    settings = params.load().generate
    return generate.journal_path("tuned", settings, f"{settings.precision} on cpu")


def test_another_value_prompt_or_model_has_another_journal(project):
    found = {journal()}
    set_generate(project, max_new_tokens=13)
    found.add(journal())
    with paths.tokens_file("test").open("a") as stream:
        stream.write("\n")
    found.add(journal())
    rewrite(lambda tensors: tensors["transformer.ln_f.bias"].add_(1))
    found.add(journal())

    assert len(found) == 4


def test_the_batch_size_changes_no_byte(project):
    expected = results()
    for batch_size in (3, 64):
        set_generate(project, batch_size=batch_size)
        generate.main()
        assert results() == expected


def test_sampled_answers_depend_on_seed_and_row_alone(project):
    greedy = responses()
    set_generate(project, temperature=1.0, top_k=40, top_p=0.9, models=["tuned"])
    generate.main()
    first = responses()
    rows = paths.tokens_file("test").read_text().splitlines(keepends=True)
    for path in (paths.tokens_file("test"), paths.split_file("test")):
        path.write_text("".join(path.read_text().splitlines(keepends=True)[5:15][::-1]))
    set_generate(project, batch_size=7)
    generate.main()

    assert len(rows) == 20
    assert responses() == first[5:15][::-1]
    assert first != greedy[20:]
    set_generate(project, seed=124)
    generate.main()
    assert responses() != first[5:15][::-1]


def test_a_prompt_that_leaves_no_room_is_marked_counted_and_told(project, capsys):
    path = paths.tokens_file("test")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[3] = rows[3] | {"ids": [5] * 131, "prompt_length": 129}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    generate.main()

    marked = [row for row in responses() if row["id"] == rows[3]["id"]]
    assert [(row["stop_reason"], row["tokens"], row["text"]) for row in marked] == [("context", 0, "")] * 2
    assert json.loads(paths.GENERATE_METRICS.read_text())["base"]["no_room"] == 1
    assert "base model: 20 answers" in (said := capsys.readouterr().out)
    assert said.count("; 1 prompts leave no room for an answer") == 2


def rewrite(change) -> None:
    tensors = load_file(WEIGHTS)
    change(tensors)
    save_file(tensors, WEIGHTS, metadata={"format": "pt"})


def no_rows() -> None:
    for path in (paths.tokens_file("test"), paths.split_file("test")):
        path.write_text("")


def no_prompt() -> None:
    path = paths.tokens_file("test")
    path.write_text(path.read_text().replace('"prompt_length": ', '"prompt_length": -', 1))


def other_vocabulary() -> None:
    path = paths.TUNED_MODEL / "config.json"
    path.write_text(path.read_text().replace("50257", "50304"))


def other_tokenizer() -> None:
    path = paths.TUNED_MODEL / "vocab.json"
    path.write_text(path.read_text().replace("the", "teh"))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (no_rows, r"test\.jsonl: no rows to answer"),
        (no_prompt, r"test\.jsonl, row .*: prompt_length: expected 1 to \d+, found -\d+"),
        (WEIGHTS.unlink, r"model\.safetensors: no such file"),
        (lambda: (paths.BASE_MODEL / "model.safetensors").unlink(), r"download/model/model\.safetensors: no such file"),
        (lambda: WEIGHTS.write_bytes(WEIGHTS.read_bytes()[:-5]), "not a whole safetensors file"),
        (lambda: rewrite(lambda tensors: tensors.pop("transformer.ln_f.bias")), r"ln_f\.bias: missing"),
        (
            lambda: rewrite(lambda tensors: tensors["transformer.wte.weight"][7, 3].fill_(torch.nan)),
            r"wte\.weight holds values that are not finite",
        ),
        (other_vocabulary, r"config\.json: vocab_size: the tokenizer has 50257 tokens, these weights 50304"),
        (other_tokenizer, r"vocab\.json: these weights go with another tokenizer than GPT-2's: expected SHA-256"),
        (lambda: (paths.TOKENIZER / "vocab.bpe").write_text("#"), r"vocab\.bpe: not GPT-2's file"),
    ],
)
def test_bad_input_is_told_before_anything_is_answered(project, harm, message):
    harm()
    before = results()

    with pytest.raises(DataError, match=message) as caught:
        generate.main()

    assert caught.value.fix
    assert journals() == []
    assert results() == before


def test_references_of_other_rows_are_told(project):
    path = paths.split_file("test")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))

    with pytest.raises(DataError, match=r"split/test\.jsonl: expected the row \w+, found \w+"):
        generate.main()


def test_a_second_process_takes_over_the_answers_of_the_first(tmp_path, capsys):
    import threading

    path = tmp_path / "journal.jsonl"
    first = Journal(path).__enter__()
    opened = threading.Event()

    def second() -> None:
        with Journal(path):
            opened.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not opened.wait(0.2)
    first.clear()
    first.__exit__(None, None, None)
    thread.join(10)

    assert opened.is_set()
    assert "another process gives the same answers" in capsys.readouterr().out
