"""The generation benchmark's arithmetic, its arguments, and a run of it on a tiny model."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch

from benchmarks import answering, generate, task
from benchmarks.generate import Turn
from benchmarks.results import Answered, Answering, AnsweringReport, Machine, Spread
from stages.common.errors import ConfigError, PipelineError
from stages.common.records import read_metrics, write_metrics
from stages.params import reading

QUESTIONS = answering.Questions(model="tiny", data="x", prompts=[[1, 2], [3, 4, 5], [6]], lengths=[2, 3, 1])
OPTIONS = generate.parser().parse_args(["--model", "tiny", "--device", "cpu", "--json", "out.json", "--repeats", "1"])


MACHINE = Machine(
    cpu="a CPU",
    cores=2,
    threads=2,
    instructions=[],
    memory_gib=8.0,
    system="Linux",
    python="3.12",
    torch="2.13",
    tflops_per_s={"fp32": {"256": 0.1}},
)


def run(answers=([7, 8], [7, 7, 7], [9]), **changed):
    measured = {
        "contender": "ours",
        "batch_size": 2,
        "precision": "fp32",
        "versions": {},
        "rows": 3,
        "tokens": 6,
        "seconds": 2.0,
        "setup_s": 1.0,
        "cores_of_others": 0.1,
        "peak_memory_bytes": 2**30,
    } | changed
    return Answered(run=Answering(**measured), answers=list(answers))


def test_the_book_s_answers_are_110_of_2424_tokens():
    assert (len(answering.LENGTHS), sum(answering.LENGTHS), max(answering.LENGTHS)) == (110, 2424, 256)


def test_what_the_book_s_loop_puts_through_the_network_worked_by_hand():
    # Rows of 2 and 3, of 3, 4 and 5, of 1.
    assert generate.forwards(QUESTIONS, 3) == 2 + 3 + 3 + 4 + 5 + 1
    assert generate.seconds_of(run(rows=1).run, QUESTIONS) == 2.0 * 18 / 5


def test_figures_and_ratios():
    runs = {"ours": [run()], "book": [run(seconds=100.0, rows=1, answers=[[7, 8]], peak_memory_bytes=2**31)]}

    found = generate.summed_up(OPTIONS, QUESTIONS, MACHINE, runs, {})

    assert found.job.tokens == 6
    assert found.contenders["ours"].tokens_per_s.median == 3.0
    assert found.contenders["book"].seconds.median == 360.0
    assert found.ratios["book"].speed == Spread(median=180.0, low=180.0, high=180.0)
    assert found.ratios["book"].memory == Spread(median=2.0, low=2.0, high=2.0)


def test_other_answers_are_an_error():
    other = run(answers=[[7, 8], [7, 7, 8], [9]])

    assert generate.agreement(other, run()) == 2 / 3
    with pytest.raises(PipelineError, match="book: only 67% of the answers are ours"):
        generate.summed_up(OPTIONS, QUESTIONS, MACHINE, {"ours": [run()], "book": [other]}, {})
    found = generate.summed_up(OPTIONS, QUESTIONS, MACHINE, {"ours": [run(precision="bf16")], "book": [other]}, {})
    assert found.contenders["book"].same_answers == 2 / 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--peers", "book,nobody"], "unknown: nobody; there are book, transformers"),
        (["--rows", "0"], "expected a whole number of at least 1, found '0'"),
        (["--precision", "fp8"], "invalid choice: 'fp8'"),
    ],
)
def test_wrong_arguments_are_told(changed, message, capsys):
    with pytest.raises(SystemExit):
        generate.parser().parse_args(["--model", "tiny", "--device", "cpu", "--json", "x", *changed])

    assert message in capsys.readouterr().err


def test_who_has_a_turn():
    options = generate.parser().parse_args(["--model", "tiny", "--device", "cpu", "--json", "x", "--rows", "40"])
    options.book_rows = 4

    assert generate.turns_of(options) == {
        "ours": Turn("ours", 48, 40),
        "ours, a token a step": Turn("ours-one-by-one", 48, 40),
        "book": Turn("book", 1, 4),
        "transformers, batch 16": Turn("transformers", 16, 40),
        "transformers, batch 32": Turn("transformers", 32, 40),
        "transformers, batch 40": Turn("transformers", 40, 40),
    }
    options.their_batch_sizes, options.peers = [8], ["transformers"]
    assert list(generate.turns_of(options)) == ["ours", "ours, a token a step", "transformers, batch 8"]
    options.device = "cuda"
    assert list(generate.turns_of(options)) == ["ours", "transformers, batch 8"]


def test_nobody_always_comes_first():
    assert [generate.rotated([1, 2, 3], turn) for turn in range(4)] == [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]


def test_prompts_are_those_of_the_recipe_whatever_params_yaml_says(tmp_path, monkeypatch):
    tree = reading.read_yaml(task.ROOT / "params.yaml")
    tree["split"] |= {"method": "shuffle", "test": 0.3}
    (tmp_path / "params.yaml").write_text(json.dumps(tree))
    expected = task.recipe()
    monkeypatch.setattr(task, "ROOT", tmp_path)

    assert task.recipe() == expected
    assert expected.split.method == "order"


def test_in_bf16_the_first_answers_are_checked_in_fp32(tmp_path, monkeypatch):
    """A contender that gives other tokens is found out, although nothing is said of its bf16 answers."""

    def start(module, name="", *arguments, **_):
        given = dict(zip(arguments[::2], arguments[1::2], strict=True)) if module == "benchmarks.answering" else {}
        wrong = name == "transformers" and given["--precision"] == "fp32"
        if given:
            write_metrics(tmp_path / "out.json", run(precision="bf16", answers=[[8]] if wrong else [[7]]))
        else:
            write_metrics(tmp_path / "machine.json", MACHINE)

    monkeypatch.setattr(generate.child, "start", start)
    monkeypatch.setattr(generate.answering, "make", lambda *_, **__: None)
    monkeypatch.setattr(generate.answering, "read", lambda _: QUESTIONS)
    options = generate.parser().parse_args(
        ["--model", "tiny", "--device", "cpu", "--json", "x", "--rows", "3", "--peers", "transformers"]
    )

    with pytest.raises(PipelineError, match="transformers: only 0% of the answers are ours"):
        generate.measure(options, tmp_path)


def test_data_that_are_not_there_are_told(tmp_path):
    with pytest.raises(ConfigError, match=r"--data .*none\.json: no such file"):
        answering.make(tmp_path / "task", model="tiny", data=tmp_path / "none.json", rows=1)


def test_more_rows_than_the_test_split_has_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--rows 999: the test split of instructions\.json has 403 rows"):
        answering.make(tmp_path / "task", model="tiny", data=task.DATA, rows=999)


def test_all_contenders_give_the_same_answers_in_the_lengths_asked_for(tmp_path):
    answering.make(tmp_path / "task", model="tiny", data=task.DATA, rows=5)
    questions = answering.read(tmp_path / "task")
    lengths = [3, 1, 4, 2, 3]
    there = [name for name, (_, packages) in answering.CONTENDERS.items() if not generate.missing(name)]
    found = {}
    for name in there:
        build, _ = answering.CONTENDERS[name]
        answer = build(tmp_path / "task" / "model", torch.device("cpu"), torch.float32, 2)
        with torch.inference_mode():
            found[name] = answer(questions.prompts, lengths)

    assert {"ours", "transformers"} <= set(there)
    assert [len(ids) for ids in found["ours"]] == lengths
    assert all(other == found["ours"] for other in found.values())


@pytest.mark.slow
def test_the_program_writes_and_prints_its_report(tmp_path, capsys):
    path = tmp_path / "report.json"
    generate.main(["--model", "tiny", "--device", "cpu", "--rows", "4", "--repeats", "1", "--json", str(path)])

    found = read_metrics(path, AnsweringReport, made_by="the program")
    assert found.job.tokens == sum(answering.LENGTHS[:4])
    assert {"ours", "transformers, batch 4"} <= set(found.contenders)
    said = capsys.readouterr().out
    assert f"| ours | {found.contenders['ours'].precision} | " in said
    if importlib.util.find_spec("llms_from_scratch") is None:
        assert "book did not run: the package llms-from-scratch is not installed" in said
