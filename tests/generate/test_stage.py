"""The stage: what it writes, how it goes on after a kill, and what it refuses before it answers anything."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.common.errors import DataError
from stages.common.results.download import BASE_MODEL, TOKENIZER
from stages.common.results.finetune import TUNED_MODEL
from stages.common.results.generate import GENERATE_FOLDER, GENERATE_METRICS, RESPONSES
from stages.common.results.split import SPLIT_FOLDER, split_file
from stages.common.results.tokenize import TOKENS_FOLDER, tokens_file
from stages.generate import answering, job
from stages.generate.__main__ import main
from stages.generate.journal import Journal
from stages.gpt2 import weights
from stages.params import whole
from stages.prompts.prompt import save_style
from stages.prompts.styles import STYLES
from tests import small_pipeline, token_rows
from tests.root import ROOT

NAMES = ("base", "tuned")
WEIGHTS = TUNED_MODEL / "model.safetensors"


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
            importlib.import_module(f"stages.{stage}.__main__").main()
        main()
    return folder


@pytest.fixture
def project(trained, tmp_path, monkeypatch):
    """A copy of it, as the working directory."""
    shutil.copytree(trained, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def results() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in GENERATE_FOLDER.iterdir()}


def journals(name: str = "*") -> list[Path]:
    return sorted(job.ANSWERS.glob(f"{name}-*.jsonl"))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True)


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The rows that a model is asked for, in order, `model:id`."""
    found: list[str] = []
    answer = answering.answer

    def noting(model, rows, name, *arguments):
        found.extend(f"{name}:{row.id}" for row in rows)
        return answer(model, rows, name, *arguments)

    monkeypatch.setattr(answering, "answer", noting)
    return found


def responses() -> list[dict]:
    return [json.loads(line) for line in RESPONSES.read_bytes().splitlines()]


def set_generate(project: Path, **values) -> None:
    small_pipeline.write_params(project, {"generate": values})


def killed_after(count: int) -> int:
    """Run the stage and kill it once it has kept this many answers; how many it has kept by then."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.generate"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while sum(path.read_bytes().count(b"\n") for path in journals()) < count:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not RESPONSES.exists()
    return sum(path.read_bytes().count(b"\n") for path in journals())


def test_a_killed_run_goes_on_to_the_same_bytes(project, asked, capsys):
    expected = results()
    shutil.rmtree(GENERATE_FOLDER)
    shutil.rmtree(job.ANSWERS)
    killed_after(7)
    kept = {path.name.partition("-")[0]: lines(path) for path in journals()}

    main()

    assert results() == expected
    said = capsys.readouterr().out
    for name, count in ((name, len(found)) for name, found in kept.items() if found):
        there = f"all {count} answers are there" if count == 20 else f"going on after {count} answers"
        assert f"{name} model: {there}" in said
    done = {f"{name}:{json.loads(line)['id']}" for name, found in kept.items() for line in found if line[-1] == "\n"}
    assert len(done) >= 7
    assert sorted(asked) == sorted({f"{name}:{row}" for name in NAMES for row in rows()} - done)


#: Windows of 16 rows, so that 70 rows are four windows and a part of one.
FEW = {"batch_size": 2, "max_new_tokens": 2, "models": ["tuned"]}
CUTS = [0, 7, 16, 17, 32, 40, 48, 64, 69, 70]


@pytest.mark.thorough
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_wherever_it_was_cut_only_what_is_missing_is_asked_again(project, asked, precision):
    """In bf16 a window that was begun is asked whole, but nothing is kept twice."""
    repeat_rows(70)
    set_generate(project, precision=precision, **FEW)
    with keep_journals():
        main()
        expected, (path,) = results(), journals("tuned")
    whole = lines(path)
    assert len(whole) == 70
    for cut in CUTS:
        path.write_text("".join(whole[:cut]))
        asked.clear()

        with keep_journals():
            main()

        done = cut if precision == "fp32" or cut == 70 else cut // 16 * 16
        answered = {json.loads(line)["id"] for line in whole[:done]}
        missing = [f"tuned:{row}" for row in rows() if row not in answered]
        compared = [f"tuned:{row}" for row in rows()[: job.COMPARED_ROWS]]
        assert asked == missing + (compared if precision == "bf16" else []), cut
        # Rows that are answered beside others are finished in another order.
        assert sorted(lines(path)) == sorted(whole), cut
        assert results() == expected, cut


def test_answers_in_any_order_are_taken_from_the_journal(project, asked):
    repeat_rows(70)
    set_generate(project, **FEW)
    with keep_journals():
        main()
        expected, (path,) = results(), journals("tuned")
    path.write_text("".join(lines(path)[::-1][:40]))
    asked.clear()

    main()

    assert len(asked) == 30
    assert results() == expected


@contextlib.contextmanager
def keep_journals():
    """Leave the answers where a run that is killed at its very end would leave them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "KEPT", NAMES)
        yield


def repeat_rows(count: int) -> None:
    """Make this number of test rows of the first ones, with new ids."""
    for path in (tokens_file("test"), split_file("test")):
        found = read_rows(path)
        write_rows(path, [found[number % len(found)] | {"id": f"{number:03}"} for number in range(count)])


def read_rows(path: Path) -> list[dict]:
    return token_rows.read(path) if path.suffix == ".arrow" else [json.loads(line) for line in lines(path)]


def write_rows(path: Path, rows: list[dict]) -> None:
    if path.suffix == ".arrow":
        token_rows.write(path, rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def rows() -> list[str]:
    return [row["id"] for row in token_rows.read(tokens_file("test"))]


def test_a_row_without_an_answer_at_the_end_is_told(project, monkeypatch):
    """Nothing that is foreseen leads there, but a journal is a file like any other."""
    monkeypatch.setattr(Journal, "__len__", lambda journal: 20)

    with pytest.raises(DataError, match=rf"tuned-\w+\.jsonl: no answer to the row {rows()[0]}") as caught:
        main()

    assert caught.value.fix == f"rm {journals('tuned')[0]}"


def test_the_base_model_s_answers_are_kept_and_taken_by_the_next_fine_tuning(project, asked, capsys):
    (kept,) = journals()
    base = RESPONSES.read_bytes().splitlines()[:20]
    rewrite(lambda tensors: tensors["transformer.ln_f.bias"].add_(torch.arange(16) / 4))
    other = job.ANSWERS / f"base-{'0' * 16}.jsonl"
    other.write_text("")
    for name in ("tuned", "else"):
        (job.ANSWERS / f"{name}-{'0' * 16}.jsonl").write_text("of a run that was stopped")

    main()

    assert asked == [f"tuned:{row}" for row in rows()]
    assert "base model: all 20 answers are there from an earlier run" in capsys.readouterr().out
    assert RESPONSES.read_bytes().splitlines()[:20] == base
    assert [path.name for path in journals()] == [kept.name, f"else-{'0' * 16}.jsonl", f"tuned-{'0' * 16}.jsonl"]
    set_generate(project, max_new_tokens=11)
    main()
    assert len(asked) == 60
    assert kept in journals("base")
    assert len(journals("base")) == 2
    said = capsys.readouterr().out
    assert re.search(rf"^{job.ANSWERS} keeps answers of the base model from another run, [1-9]\d* KiB; rm", said, re.M)


@pytest.mark.thorough
def test_a_killed_run_goes_on_after_another_one_with_other_values(project, asked, capsys):
    set_generate(project, max_new_tokens=9)
    main()
    expected = results()
    shutil.rmtree(GENERATE_FOLDER)
    shutil.rmtree(job.ANSWERS)
    answers = killed_after(7)
    set_generate(project, max_new_tokens=11)
    main()
    asked.clear()
    capsys.readouterr()

    set_generate(project, max_new_tokens=9)
    main()

    said = capsys.readouterr().out
    assert results() == expected
    assert "going on after" in said or "all 20 answers are there" in said
    assert len(asked) <= 40 - answers


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_effect_of_bf16_is_that_on_the_first_rows_whatever_the_window(project, batch_size):
    set_generate(project, max_new_tokens=12, batch_size=batch_size)
    main()
    exact = [row["text"] for row in responses()]
    set_generate(project, precision="bf16")
    main()
    rounded = [row["text"] for row in responses()]

    for index, name in enumerate(NAMES):
        found = json.loads(GENERATE_METRICS.read_text())[name]
        pairs = zip(exact[20 * index :][:20], rounded[20 * index :][:20], strict=True)
        assert found["bf16_compared"] == 20
        assert found["bf16_changed"] == sum(a != b for a, b in pairs) / 20
    assert exact != rounded, "bf16 must change some of these answers, or nothing is tested"


def test_one_model_is_in_memory_at_a_time_and_one_check_reads_it_before(project, monkeypatch):
    loaded = []
    load = weights.load

    def noting(*arguments, **options):
        assert [found for found in loaded if found() is not None] == []
        model = load(*arguments, **options)
        loaded.append(weakref.ref(model))
        return model

    monkeypatch.setattr(weights, "load", noting)
    for precision, count in (("fp32", 2), ("bf16", 4)):
        set_generate(project, precision=precision, max_new_tokens=3)
        loaded.clear()
        main()
        assert len(loaded) == count


def journal() -> Path:
    settings = whole.load().generate
    return job.journal_path("tuned", settings, "cpu")


def test_another_value_prompt_or_model_has_another_journal(project):
    found = {journal()}
    set_generate(project, max_new_tokens=13)
    found.add(journal())
    change_row(tokens_file("test"), 0, prompt_length=1)
    found.add(journal())
    rewrite(lambda tensors: tensors["transformer.ln_f.bias"].add_(1))
    found.add(journal())

    assert len(found) == 4


def test_the_batch_size_changes_no_byte(project):
    expected = results()
    for batch_size in (3, 64):
        set_generate(project, batch_size=batch_size)
        main()
        assert results() == expected


def test_sampled_answers_depend_on_seed_and_row_alone(project):
    greedy = responses()
    set_generate(project, temperature=1.0, top_k=40, top_p=0.9, models=["tuned"])
    main()
    first = responses()
    before = rows()
    for path in (tokens_file("test"), split_file("test")):
        write_rows(path, read_rows(path)[5:15][::-1])
    set_generate(project, batch_size=7)
    main()

    assert len(before) == 20
    assert responses() == first[5:15][::-1]
    assert first != greedy[20:]
    set_generate(project, seed=124)
    main()
    assert responses() != first[5:15][::-1]


def test_a_prompt_that_leaves_no_room_is_marked_counted_and_told(project, capsys):
    path = tokens_file("test")
    encoded = token_rows.read(path)
    encoded[3] = encoded[3] | {"ids": [5] * 131, "prompt_length": 129}
    token_rows.write(path, encoded)

    main()

    marked = [row for row in responses() if row["id"] == encoded[3]["id"]]
    assert [(row["stop_reason"], row["tokens"], row["text"]) for row in marked] == [("context", 0, "")] * 2
    assert json.loads(GENERATE_METRICS.read_text())["base"]["no_room"] == 1
    assert "base model: 20 answers" in (said := capsys.readouterr().out)
    assert said.count("; 1 prompt leaves no room for an answer") == 2


def rewrite(change) -> None:
    tensors = load_file(WEIGHTS)
    change(tensors)
    save_file(tensors, WEIGHTS, metadata={"format": "pt"})


def no_rows() -> None:
    for path in (tokens_file("test"), split_file("test")):
        write_rows(path, [])


def change_row(path: Path, number: int, **fields) -> None:
    found = read_rows(path)
    found[number] |= fields
    write_rows(path, found)


def no_response() -> None:
    row = token_rows.read(tokens_file("test"))[19]
    change_row(tokens_file("test"), 19, prompt_length=len(row["ids"]))


def one_id_twice() -> None:
    for path in (tokens_file("test"), split_file("test")):
        change_row(path, 19, id=rows()[0])


def drop_reference(number: int) -> None:
    path = split_file("test")
    path.write_text("".join(line for index, line in enumerate(lines(path)) if index != number))


def surplus_reference() -> None:
    path = split_file("test")
    path.write_text(path.read_text() + lines(path)[-1].replace(rows()[-1], "more"))


def other_vocabulary() -> None:
    path = TUNED_MODEL / "config.json"
    path.write_text(path.read_text().replace("50257", "50304"))


def other_tokenizer() -> None:
    path = TUNED_MODEL / "vocab.json"
    path.write_text(path.read_text().replace("the", "teh"))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda: change_row(tokens_file("test"), 3, prompt_length=-2),
            r"test\.arrow, row .*: prompt_length: expected 1 to \d+, found -2",
        ),
        (no_response, r"test\.arrow, row .*: prompt_length: expected 1 to (\d+), found \d+"),
        (lambda: change_row(tokens_file("test"), 19, ids=[50257], prompt_length=1), "expected 1 to 0, found 1"),
        (
            lambda: change_row(tokens_file("test"), 19, ids=[7, 50257], prompt_length=1),
            "ids: expected 0 to 50256",
        ),
        (no_rows, r"tokenize/test\.arrow: no rows to answer\n  to fix it: dvc repro --force tokenize"),
        (one_id_twice, r"tokenize/test\.arrow: two rows have the id \w+"),
        (lambda: drop_reference(0), r"split/test\.jsonl: expected the row \w+, found the row \w+"),
        (lambda: drop_reference(19), r"split/test\.jsonl: expected the row \w+, found the end"),
        (surplus_reference, r"split/test\.jsonl: expected the end, found the row more"),
        (WEIGHTS.unlink, r"model\.safetensors: no such file"),
        (lambda: (BASE_MODEL / "model.safetensors").unlink(), r"download/model/model\.safetensors: no such file"),
        (lambda: WEIGHTS.write_bytes(WEIGHTS.read_bytes()[:-5]), "not a whole safetensors file"),
        (lambda: rewrite(lambda tensors: tensors.pop("transformer.ln_f.bias")), r"ln_f\.bias: missing"),
        (
            lambda: rewrite(lambda tensors: tensors["transformer.wte.weight"][7, 3].fill_(torch.nan)),
            r"wte\.weight holds values that are not finite",
        ),
        (other_vocabulary, r"config\.json: vocab_size: the tokenizer has 50257 tokens, these weights 50304"),
        (other_tokenizer, r"vocab\.json: these weights go with another tokenizer than GPT-2's: expected SHA-256"),
        (lambda: (TOKENIZER / "vocab.bpe").write_text("#"), r"vocab\.bpe: not GPT-2's file"),
    ],
)
def test_bad_input_is_told_before_anything_is_answered(project, asked, harm, message):
    shutil.rmtree(job.ANSWERS)
    harm()
    before = results()

    with pytest.raises(DataError, match=message) as caught:
        main()

    assert caught.value.fix
    assert asked == []
    assert journals() == []
    assert results() == before


SHORT = """
import resource
from stages.generate import __main__ as generate
from stages.running import program
from stages.gpt2 import decoding, weights
from stages.generate import answering
from stages.finetune import checkpoint
from stages.finetune.costs import memory

ROOM = 600 << 20  # tokenizer, model and what torch for GPUs maps fit, the keys and values of 20 rows do not
used = memory.psutil.Process().memory_info().vms
resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
program.run("generate", generate.main)
"""


def made_for_a_shortage(tmp_path, monkeypatch, sizes, **settings):
    """A folder in which generation may begin, with a model of these sizes."""
    overlay = {
        "download": {"model": sizes},
        "split": {"train": 0.3, "test": 0.6},
        "generate": {"models": ["tuned"]} | settings,
    }
    monkeypatch.chdir(small_pipeline.make(tmp_path, overlay=overlay, data=small_pipeline.rows(34)))
    for stage in ("download", "split", "tokenize"):
        importlib.import_module(f"stages.{stage}.__main__").main()
    shutil.copytree(BASE_MODEL, TUNED_MODEL)


def run_short(code, stdin=""):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.thorough
def test_a_shortage_of_memory_says_what_to_lower_without_a_traceback(tmp_path, monkeypatch):
    sizes = {"n_embd": 64, "n_head": 4, "n_positions": 49152}
    made_for_a_shortage(tmp_path, monkeypatch, sizes, max_new_tokens=48000)

    done = run_short(SHORT)

    assert done.returncode == 78, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(
        "generate: out of memory: besides the model, the keys and values of 20 rows at a time take up to 0.9 GiB"
    )
    assert "set generate.batch_size: 10 in params.yaml, whose cache takes up to 0.5 GiB; or" in done.stderr


#: There is room for so many bytes more: less than the file, or less than the file and its copy in memory.
NO_ROOM_FOR_THE_MODEL = """
import resource
import psutil
from stages.generate import MODULE as generate
from stages.generate import answering, conversation, job
from stages.running import program
from stages.prompts import prompt

room = ROOM
used = psutil.Process().memory_info().vms
resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
program.run("generate", generate.main)
"""


@pytest.mark.slow
def test_a_model_that_does_not_fit_is_not_made_to_by_smaller_batches(tmp_path, monkeypatch):
    """50,257 tokens of width 1,024 and a block, in fp32: 245 MiB."""
    made_for_a_shortage(tmp_path, monkeypatch, {"n_embd": 1024, "n_head": 4, "n_layer": 1, "n_positions": 128})
    shutil.copytree(TOKENIZER, TUNED_MODEL, dirs_exist_ok=True)
    save_style(STYLES["alpaca"], TUNED_MODEL)
    less = "end what else uses this memory, take a smaller model (download.model) or another machine"
    half = "set generate.precision: bf16 in params.yaml, which takes 0.1 GiB; or "
    for module, room, fix in (
        ("__main__", 220 << 20, half + less),
        ("__main__", 400 << 20, half + less),
        ("conversation", 220 << 20, less),
        ("conversation", 400 << 20, less),
    ):
        code = NO_ROOM_FOR_THE_MODEL.replace("MODULE", module).replace("ROOM", str(room))

        done = run_short(code, stdin="a")

        assert done.returncode == 78, done.stderr
        assert "Traceback" not in done.stderr
        expected = "generate: out of memory: the model in artifacts/finetune/model does not fit: its weights take 0.2"
        assert done.stderr.startswith(expected), (module, room)
        assert done.stderr.endswith(f"to fix it: {fix}\n")


PEAK = """
from stages.generate import __main__ as generate
generate.main()
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows_but_for_their_ids(tmp_path, monkeypatch):
    """100,000 rows, of which every tenth gets one token; most have no room, so that rows are handled and few answered.

    The peak is compared with that of a tenth of the rows. What may grow is an id and an offset in the journal.
    """
    overlay = {
        "download": {"model": {"n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 8}},
        "tokenize": {"context_length": 8},
        "generate": {"max_new_tokens": 1, "models": ["tuned"]},
    }
    monkeypatch.chdir(small_pipeline.make(tmp_path, overlay=overlay))
    importlib.import_module("stages.download.__main__").main()
    shutil.copytree(BASE_MODEL, TUNED_MODEL)
    SPLIT_FOLDER.mkdir()
    TOKENS_FOLDER.mkdir()
    peaks = {}
    for count in (10_000, 100_000):
        made = [
            {"id": f"{number:012}", "ids": [7] * 9, "prompt_length": 8 - (number % 10 == 0)} for number in range(count)
        ]
        texts = {"instruction": "a", "input": "", "output": "b", "category": "c"}
        write_rows(tokens_file("test"), made)
        write_rows(split_file("test"), [{"id": row["id"]} | texts for row in made])
        done = subprocess.run(
            [sys.executable, "-c", PEAK],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"tuned model: {count:,} answers, {count // 10:,} tokens" in done.stdout
        peaks[count] = int(done.stdout.split()[-1]) * 1024
    growth = (peaks[100_000] - peaks[10_000]) / 90_000
    print(f"peaks {peaks}, {growth:.0f} bytes a row")
    assert growth < 400
