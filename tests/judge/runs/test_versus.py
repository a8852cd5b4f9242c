"""The answers of any two runs side by side: what is asked, what is left out, and what may be said of it."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.common.errors import ConfigError, DataError, ServiceUnavailable
from stages.common.files import write_json
from stages.common.metrics.judge import JudgeIdentity
from stages.common.records import write_records
from stages.common.results.generate import RESPONSES, Response
from stages.common.results.judge import JUDGE_METRICS, VERDICTS, PairVerdict, Verdict
from stages.common.results.split import Example, split_file
from stages.judge.job import compare_answers, open_judges
from stages.judge.judges.protocol import Question
from stages.judge.judges.reference import ReferenceJudge
from stages.judge.runs import versus
from stages.judge.runs.answers import answers_of, shared
from stages.judge.runs.pairs import compared, corrected, wins_by_instruction
from stages.judge.runs.places import Place
from stages.judge.runs.sources import Run, find_run
from stages.judge.runs.verdict import basis_of_two
from stages.judge.scores.bootstrap import LEVEL
from stages.judge.scores.bradley_terry import NOT_FINITE, fit
from stages.params import whole
from stages.params.reading import merge, read_yaml
from stages.running import digests
from tests.fake_ollama import PARAPHRASES, FakeOllama, better, is_right, pair, text
from tests.judge.runs.test_group import git, values
from tests.root import ROOT

JUDGE = JudgeIdentity(fingerprint="1" * 32, backend="reference")
#: Six rows whose reference is one word; instructions differ, so that each is a cluster of its own.
WORDS = ["Oslo", "Bergen", "Rome", "Paris", "Berlin", "Madrid"]
ROWS = [
    Example(id=f"r{n}", instruction=f"Name city number {n}.", input="", output=f"{word}.", category="facts")
    for n, word in enumerate(WORDS)
]


def write(folder, answers, rows=ROWS, *, seed=None, model_digest="", base=None):
    """A project's folder with one run: the rows, an answer to each, and a verdict on each."""
    write_records(folder / split_file("test"), rows)
    given = {"tuned": answers, **({"base": base} if base else {})}
    write_records(
        folder / RESPONSES,
        [
            Response(id=row.id, model=model, text=answer, stop_reason="end_of_text", tokens=3)
            for model, texts in given.items()
            for row, answer in zip(rows, texts, strict=False)
        ],
    )
    write_records(
        folder / VERDICTS,
        [Verdict(id=row.id, model=model, status="scored", score=50.0, detail="") for model in given for row in rows],
    )
    write_json(folder / JUDGE_METRICS, {"judge": JUDGE.model_dump()})
    if seed is not None:
        write_lock(folder, seed, model_digest)
    return folder


def write_lock(folder, seed, model_digest):
    """The dvc.lock of the run: values, the fine-tuned model, and its files."""
    files = {"split": [split_file("test")], "generate": [RESPONSES], "judge": [VERDICTS, JUDGE_METRICS]}
    tree = values(seed)
    stages = {}
    for name in ("download", "split", "tokenize", "finetune", "generate", "judge"):
        outs = [{"path": str(path), "md5": digests.md5(folder / path)} for path in files.get(name, ())]
        if name == "finetune" and model_digest:
            outs = [{"path": "artifacts/finetune/model", "md5": f"{model_digest * 32}.dir"}]
        stages[name] = {"cmd": "x", "params": {"params.yaml": {name: tree[name]}}, "outs": outs}
    write_json(folder / "dvc.lock", {"stages": stages})


def configure(**judge):
    """params.yaml and the train rows of the working directory, by which the built-in judge weighs words."""
    tree = read_yaml(ROOT / "params.yaml")
    merge(tree, {"judge": judge})
    write_json(Path("params.yaml"), tree)
    write_records(split_file("train"), [ROWS[0].model_copy(update={"id": "t"})])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    configure()
    return tmp_path


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["versus", *map(str, arguments)])
    versus.main()
    return capsys.readouterr().out


def reads(body):
    """A judge of pairs that knows the reference: the answer that is right is better, and else neither."""
    texts = pair(body)
    if texts is None:
        return text("{}")
    reference, first, second = texts
    right = is_right(reference, first), is_right(reference, second)
    return better("tie" if right[0] == right[1] else "first" if right[0] else "second")


def ask(monkeypatch, behave=reads):
    """A server of Ollama's protocol, which params.yaml names."""
    configure(backend="ollama", parallel=2)
    server = FakeOllama(behave)
    monkeypatch.setenv("OLLAMA_HOST", server.address)
    return server


def of_rows(server):
    """What was asked about the rows, without the self-test."""
    found = [pair(body) for body in server.chats if pair(body)]
    return [one for one in found if one[0].rstrip(".") in WORDS and one[0] not in PARAPHRASES]


@pytest.mark.thorough
def test_each_pair_is_asked_once_in_each_order_and_never_again(folder, monkeypatch, capsys):
    """A has rows 0 to 3 right, B rows 2 to 5; in row 5 both say the same."""
    write(folder / "a", ["Oslo.", "Bergen.", "Rome.", "Paris.", "x", "Madrid."])
    write(folder / "b", ["y", "z", "Rome.", "Paris.", "Berlin.", "Madrid. "])
    with ask(monkeypatch) as server:
        out = run(monkeypatch, capsys, "a", "b", "--json", "found.json", "--resamples", "100")
        asked = of_rows(server)
        assert sorted(asked) == sorted(
            [
                ("Oslo.", "Oslo.", "y"),
                ("Oslo.", "y", "Oslo."),
                ("Bergen.", "Bergen.", "z"),
                ("Bergen.", "z", "Bergen."),
                ("Berlin.", "x", "Berlin."),
                ("Berlin.", "Berlin.", "x"),
            ]
        )
        server.chats.clear()
        again = run(monkeypatch, capsys, "a", "b", "--resamples", "100")
        turned = run(monkeypatch, capsys, "b", "a", "--resamples", "100")
        assert server.chats == []  # neither the rows nor the self-test, in whichever order the runs are named
    told = "trying the judge first, with 48 questions whose answer is known\n"
    assert out == told + again
    assert again.startswith(
        "A a\nB b\njudge       llama3; in its self-test it named the right one of two answers in 100 %\n"
        "rows        6 answered in both\n\n"
        "A and B     A better 2, ties 3, B better 1, of 6 instructions (3 identical answers)\n"
        "win rate    of B 41.7 %, 95 % interval none: 6 of the 10 instructions that it takes\n"
    )
    assert (
        "\norders      agree in 100 % of the rows; 50 % of the answers that are called better were shown first\n" in out
    )
    # Differences -1/2, -1/2, 0, 0, 1/2, 0: of the 8 ways to turn three round, two give 3/2 and six 1/2, as was seen.
    assert "\np           1.0000 (permutation test)\n" in out
    assert out.endswith("result      no detectable difference; one training each: training seeds are not allowed for\n")
    assert "A and B     A better 1, ties 3, B better 2" in turned
    found = json.loads(Path("found.json").read_text())
    assert list(found) == ["judge", "self_test", "model", "runs", "rows", "pairs"]
    (only,) = found["pairs"]
    assert list(only)[:5] == ["a", "b", "verdict", "rests_on", "basis"]
    assert (only["a"], only["b"], only["wins"], only["losses"], only["identical"]) == ("a", "b", 1, 2, 3)
    assert found["judge"]["rubric"] == "pairwise-v1"


@pytest.mark.thorough
def test_what_the_stage_has_asked_is_not_asked_again(folder, monkeypatch, capsys):
    """The stage has compared these answers as those of a base and a tuned model, in rows of other ids."""
    write(folder / "a", ["Oslo."], ROWS[:1])
    write(folder / "b", ["y"], ROWS[:1])
    row = ("Name city number 0.", "", "Oslo.")
    with ask(monkeypatch) as server:
        settings = whole.load().judge
        with open_judges(settings) as (judge,):
            questions = [Question("other", "base", *row, "y"), Question("other", "tuned", *row, "Oslo.")]
            compare_answers(judge.comparing(), questions, settings)
        assert sorted(of_rows(server)) == [("Oslo.", "Oslo.", "y"), ("Oslo.", "y", "Oslo.")]
        out = run(monkeypatch, capsys, "a", "b", "--resamples", "100")
        assert len(of_rows(server)) == 2
    assert "A better 1, ties 0, B better 0" in out


@pytest.mark.thorough
def test_a_run_with_the_answers_of_another_costs_nothing(folder, monkeypatch, capsys):
    write(folder / "a", ["Oslo.", "x"], ROWS[:2])
    write(folder / "b", ["y", "Bergen."], ROWS[:2])
    write(folder / "c", ["y", "Bergen."], ROWS[:2])
    with ask(monkeypatch) as server:
        run(monkeypatch, capsys, "a", "b", "--resamples", "100")
        server.chats.clear()
        out = run(monkeypatch, capsys, "a", "b", "c", "--resamples", "100")
        assert server.chats == []  # c's answers are b's
    assert "\n\nB and C     identical answers to 2 rows\nresult      identical answers\n\n" in out


@pytest.mark.thorough
def test_a_judge_that_likes_a_position_makes_ties(folder, monkeypatch, capsys):
    def first(body):
        texts = pair(body)
        return (
            better("first") if texts and texts[0].rstrip(".") in WORDS and texts[0] not in PARAPHRASES else reads(body)
        )

    write(folder / "a", ["Oslo.", "Bergen."], ROWS[:2])
    write(folder / "b", ["y", "z"], ROWS[:2])
    with ask(monkeypatch, first):
        out = run(monkeypatch, capsys, "a", "b")
    assert "A better 0, ties 2, B better 0, of 2 instructions (2 orders that disagree)" in out
    assert "orders      agree in 0 % of the rows; 100 % of the answers that are called better were shown first" in out


@pytest.mark.thorough
def test_too_many_rows_without_a_verdict_fail_after_the_table(folder, monkeypatch, capsys):
    def says_nothing(body):
        texts = pair(body)
        return text("no") if texts and texts[0] == "Oslo." and texts[0] not in PARAPHRASES else reads(body)

    write(folder / "a", ["Oslo.", "Bergen."], ROWS[:2])
    write(folder / "b", ["y", "z"], ROWS[:2])
    with (
        ask(monkeypatch, says_nothing),
        pytest.raises(ConfigError, match=r"1 of 2 pairs of answers has no verdict") as told,
    ):
        run(monkeypatch, capsys, "a", "b")
    assert "pairwise.jsonl" not in str(told.value)
    assert "A better 1, ties 0, B better 0, of 1 instruction (1 invalid)" in capsys.readouterr().out


def test_without_a_server_nothing_is_said(folder, monkeypatch, capsys):
    write(folder / "a", WORDS)
    write(folder / "b", WORDS)
    with ask(monkeypatch):
        pass
    with pytest.raises(ServiceUnavailable):
        run(monkeypatch, capsys, "a", "b")


def test_the_built_in_judge_compares_what_is_right(folder, monkeypatch, capsys):
    """B has all six right and A none; of two trainings neither is better, of one training's answers one is."""
    write(folder / "a", ["x"] * 6, seed=1, model_digest="a")
    write(folder / "b", WORDS, seed=2, model_digest="b")
    out = run(monkeypatch, capsys, "a", "b")
    assert "judge       built-in reference judge; in its self-test" in out
    assert "A better 0, ties 0, B better 6, of 6 instructions" in out
    assert "p           0.0312 (permutation test)" in out  # 2 of the 2^6 ways to turn six differences round
    assert out.endswith("result      B's answers are preferred; both are of one recipe: only training seeds differ\n")
    write_lock(folder / "b", 2, "a")  # answers of one and the same model
    out = run(monkeypatch, capsys, "a", "b", "--json", "found.json")
    assert out.endswith("result      B is better; one and the same training, so that its seed plays no part\n")
    assert json.loads(Path("found.json").read_text())["pairs"][0]["verdict"] == "b is better"
    (folder / "b" / "dvc.lock").unlink()
    assert "B's answers are preferred; one training each" in run(monkeypatch, capsys, "a", "b")
    assert not (folder / ".cache").exists()


def test_answers_that_are_newer_than_the_verdicts_are_of_an_unknown_training(folder, monkeypatch, capsys):
    """`python -m stages.generate` by hand: dvc.lock still has the verdicts, and the model of the answers before."""
    write(folder / "a", ["x"] * 6, seed=1, model_digest="a")
    write(folder / "b", ["y"] * 6, seed=1, model_digest="a")
    newer = [Response(id=row.id, model="tuned", text=row.output, stop_reason="end_of_text", tokens=3) for row in ROWS]
    write_records(folder / "b" / RESPONSES, newer)
    out = run(monkeypatch, capsys, "a", "b")
    assert out.endswith(
        "result      B's answers are preferred; one training each: training seeds are not allowed for\n"
    )
    assert find_run("b").model  # of its verdicts it is known
    found = find_run("b").of_answers()
    assert (found.model, found.recipe, found.seed) == ("", None, None)
    (folder / "b" / RESPONSES).unlink()
    assert find_run("b").of_answers().model == ""


def test_open_rows_are_left_out_and_told(folder, monkeypatch, capsys):
    """Two rows have a right answer, and one asks for any sentence: its answers are no tie, equal or not."""
    simile = Example(id="s", instruction="Write a sentence with a simile.", input="", output="As a lion.", category="x")
    equal = simile.model_copy(update={"id": "t"})
    rows = [*ROWS[:2], simile, equal]
    write(folder / "a", ["x", "y", "brave", "same"], rows)
    write(folder / "b", ["Oslo.", "Bergen.", "bold", "same"], rows)
    out = run(monkeypatch, capsys, "a", "b", "--json", "found.json")
    line = "A and B     A better 0, ties 0, B better 2, of 2 instructions; left out: 2 open rows, not for this judge\n"
    assert line in out
    assert "win rate    of B 100.0 %" in out
    (pair,) = json.loads(Path("found.json").read_text())["pairs"]
    assert (pair["rows"], pair["open"], pair["ties"], pair["identical"]) == (4, 2, 0, 0)


def test_a_run_beside_itself_is_identical_and_has_no_figures(folder, monkeypatch, capsys):
    write(folder / "a", WORDS)
    configure(panel=[{"backend": "ollama", "model": "a"}])
    monkeypatch.setattr(sys, "argv", ["versus", "a", "a"])
    versus.main()
    found = capsys.readouterr()
    assert found.out.endswith("\n\nA and B     identical answers to 6 rows\nresult      identical answers\n")
    assert "judge.panel is not asked: versus asks the first judge alone" in found.out + found.err


def test_equally_long_answers_are_not_shorter(folder, monkeypatch, capsys):
    write(folder / "a", [f"{word}." for word in WORDS])
    write(folder / "b", [f"{word[::-1]}." for word in WORDS])
    assert "; the answers are equally long on average\n" in run(monkeypatch, capsys, "a", "b").replace(
        "\n            ", " "
    )


def test_a_p_value_at_the_limit_is_a_difference(folder):
    write(folder / "a", ["x"] * 6)
    answers = answers_of(find_run("a"), "tuned")
    questions = [
        Question(id, model, one.instruction, "", one.reference, text)
        for id, one in answers.items()
        for model, text in (("base", one.answer), ("tuned", one.reference))
    ]
    verdicts = compare_answers(ReferenceJudge().comparing(), questions, whole.load().judge)
    pair = compared(find_run("a"), find_run("a"), verdicts, model="tuned", resamples=100, seed=1)
    at = pair.model_copy(update={"p_holm": 1 - LEVEL})
    assert at.verdict("A", "B") == "B's answers are preferred"
    above = pair.model_copy(update={"p_holm": np.nextafter(1 - LEVEL, 1)})
    assert above.verdict("A", "B") == "no detectable difference"


def test_two_runs_of_unknown_recipes_are_not_of_one():
    a, b = Run("a", JUDGE, []), Run("b", JUDGE, [])
    assert basis_of_two(a, b, "tuned") == "seeds unknown"


def test_the_base_models_answers_take_no_training(folder, monkeypatch, capsys):
    write(folder / "a", WORDS, base=["x"] * 6)
    write(folder / "b", WORDS, base=WORDS)
    out = run(monkeypatch, capsys, "a", "b", "--model", "base")
    assert "result      B is better; the models before fine-tuning, in which no training seed plays a part" in out
    write(folder / "c", WORDS)
    with pytest.raises(ConfigError, match="c: no answers of the model base"):
        run(monkeypatch, capsys, "a", "c", "--model", "base")


def test_rows_that_are_not_the_same_are_left_out_and_named(folder, monkeypatch, capsys):
    write(folder / "a", WORDS, ROWS[:5])
    changed = [
        ROWS[0].model_copy(update={"instruction": "Another."}),
        ROWS[1].model_copy(update={"input": "x"}),
        ROWS[2].model_copy(update={"output": "Roma."}),
        *ROWS[3:],
    ]
    write(folder / "b", WORDS[:4], changed)
    out = run(monkeypatch, capsys, "a", "b")
    assert (
        "rows 1 answered in both; left out: 1 of A alone, 2 of B whose answers are not kept, "
        "2 with different prompts (r0, r1), 1 with different references (r2)"
    ) in " ".join(out.split())
    found = shared([find_run("a"), find_run("b"), find_run("a")], "tuned").counts
    assert found.left_out("ABC").startswith("1 of A that not all have, 1 of C that not all have, 2 of B whose")


def test_runs_without_a_row_in_common_are_refused(folder, monkeypatch, capsys):
    write(folder / "a", WORDS[:3], ROWS[:3])
    write(folder / "b", WORDS[3:], ROWS[3:])
    with pytest.raises(
        ConfigError, match=r"a, b: expected rows with one prompt .* found none: 3 of A alone, 3 of B alone"
    ):
        run(monkeypatch, capsys, "a", "b")
    with pytest.raises(ConfigError, match="a: expected 2 to 26 runs, found 1"):
        run(monkeypatch, capsys, "a")


def test_a_run_without_its_answers_is_said(folder, monkeypatch, capsys):
    write(folder / "a", WORDS)
    write(folder / "b", WORDS)
    (folder / "b" / RESPONSES).unlink()
    with pytest.raises(DataError, match=r"b: .*responses.jsonl: no such file"):
        run(monkeypatch, capsys, "a", "b")
    shutil.copytree(folder / "b" / VERDICTS.parent, folder / "alone")
    with pytest.raises(DataError, match=r"alone: expected artifacts/split/test.jsonl, found verdicts alone"):
        run(monkeypatch, capsys, "a", "alone")


def commit(answers, seed):
    """A commit whose results are in DVC's cache alone."""
    write(Path(), answers, seed=seed)
    for path in (split_file("test"), RESPONSES, VERDICTS, JUDGE_METRICS):
        digest = digests.md5(path)
        kept = Path(".dvc/cache/files/md5") / digest[:2] / digest[2:]
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, kept)
        path.unlink()
    git("add", "dvc.lock")
    git("commit", "-m", "a run")
    return git("rev-parse", "HEAD")


def test_a_commit_and_an_experiment_have_their_answers_in_the_cache_of_dvc(folder, monkeypatch, capsys):
    git("init", "-q")
    first = commit(["x"] * 6, 1)
    git("update-ref", f"refs/exps/{first[:2]}/{first[2:]}/tidy-moth", commit(WORDS, 2))
    git("reset", "--hard", "-q", first)
    out = run(monkeypatch, capsys, "HEAD", "tidy-moth")
    assert f"A HEAD ({first[:7]})\nB tidy-moth (" in out
    assert "A better 0, ties 0, B better 6" in out
    digest = digests.md5(write(folder / "same", ["x"] * 6) / RESPONSES)
    (Path(".dvc/cache/files/md5") / digest[:2] / digest[2:]).unlink()
    with pytest.raises(
        DataError, match=r"HEAD \(\w{7}\): artifacts/generate/responses.jsonl is not in DVC's cache here"
    ):
        run(monkeypatch, capsys, "HEAD", "tidy-moth")


@pytest.mark.slow  # MLflow makes a database
def test_a_run_in_mlflow_has_its_answers_in_its_table(folder, monkeypatch, capsys):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    client = MlflowClient()
    experiment = client.create_experiment("one", artifact_location=(folder / "kept").as_uri())
    ids = [client.create_run(experiment, run_name=name).info.run_id for name in ("full", "without", "broken")]
    write(folder / "a", ["x"] * 6)
    columns = ["id", "category", "instruction", "input", "reference", "tuned", "tuned_score", "tuned_verdict"]
    data = [[row.id, "c", row.instruction, "", row.output, row.output, 1.0, "scored"] for row in ROWS[:5]]
    for run_id in ids:
        for path in (VERDICTS, JUDGE_METRICS):
            client.log_artifact(run_id, str(folder / "a" / path), "judge")
    client.log_dict(ids[0], {"columns": columns, "data": data}, "judge/answers.json")
    client.log_dict(ids[2], {"columns": columns, "data": [["r0", 3]]}, "judge/answers.json")
    out = run(monkeypatch, capsys, "a", "full")
    assert "rows        5 answered in both; left out: 1 of A alone, 1 of B whose answer is not kept" in out
    assert "A better 0, ties 0, B better 5" in out
    with pytest.raises(ConfigError, match=r"does not hold judge/answers.json"):
        run(monkeypatch, capsys, "a", "without")
    with pytest.raises(DataError, match=r"broken: judge/answers.json: no table of answers"):
        run(monkeypatch, capsys, "a", "broken")


def verdict(index, outcome, cluster=None):
    said = {"win": "tuned", "loss": "base"}.get(outcome, "tie")
    return PairVerdict(
        id=f"r{index}",
        status="judged" if outcome else "failed",
        outcome=outcome,
        tuned_first=said,
        base_first=said,
        identical=False,
        tuned_length=10,
        base_length=10,
        detail="",
        cluster=cluster or f"c{index}",
    )


def figures(outcomes, clusters=None):
    a, b = (Run(name, JUDGE, [], place=Place()) for name in "ab")
    rows = [verdict(n, one, clusters and clusters[n]) for n, one in enumerate(outcomes)]
    return compared(a, b, rows, model="tuned", resamples=200, seed=1)


def test_the_p_value_exchanges_whole_instructions_by_hand():
    """Three wins of one instruction and a loss of another: sums 3/2 and -1/2, of which every way is 1 or more."""
    found = figures(["win", "win", "win", "loss"], ["x", "x", "x", "y"])
    assert found.p == 1.0
    assert figures(["win"] * 6).p == 2 / 2**6
    assert figures(["win"]).p is None
    assert figures(["win"]).verdict("A", "B") == "too few rows to compare"
    # More than 14 instructions are drawn: never 0, and 1 / (1 + resamples) at the least.
    assert figures(["win"] * 30).p == pytest.approx(1 / 201)


def test_rows_without_a_verdict_are_in_no_figure_but_their_count():
    found = figures(["win", None, "win", "tie"])
    assert (found.rows, found.failed, found.outcomes, found.win_rate.mean) == (4, 1, 3, 0.8333)
    nothing = figures([None, None])
    assert (nothing.win_rate.mean, nothing.p, nothing.verdict("A", "B")) == (None, None, "too few rows to compare")


def test_many_pairs_are_corrected_together():
    pairs = corrected([figures(["win"] * 6), figures(["win", "loss"] * 3), figures(["loss"] * 8)])
    assert [pair.p for pair in pairs] == [2 / 64, 1.0, 2 / 256]
    assert [pair.p_holm for pair in pairs] == [4 / 64, 1.0, 6 / 256]
    assert [pair.verdict("A", "B") for pair in pairs] == [
        "no detectable difference",
        "no detectable difference",
        "A's answers are preferred",
    ]


def test_answers_are_those_of_one_model(folder):
    write(folder / "a", WORDS, base=["x"] * 6)
    found = find_run("a")
    assert [one.answer for one in answers_of(found, "base").values()] == ["x"] * 6
    assert answers_of(found, "tuned")["r1"].prompt == ("Name city number 1.", "")


@pytest.mark.thorough
def test_of_three_runs_there_are_strengths_the_best_first(folder, monkeypatch, capsys):
    """Of 20 rows A has 5 right, B 10 and C 15, each the first ones but for one row that only A has right.

    A against B: 1 win, 6 losses, 13 ties; so 7.5 of 20. A against C: 1, 11, 8; 5 of 20. B against C: 1, 6, 13: 7.5.
    """
    rows = [
        Example(id=f"r{n}", instruction=f"Name number {n}.", input="", output=f"{word}.", category="facts")
        for n, word in enumerate(f"{chr(97 + n)}ord{chr(97 + n)}" for n in range(20))
    ]
    for name, right in (("a", {*range(4), 19}), ("b", {*range(9), 18}), ("c", {*range(15)})):
        write(folder / name, [row.output if n in right else "x" for n, row in enumerate(rows)], rows)
    out = run(monkeypatch, capsys, "a", "b", "c", "--resamples", "200", "--json", "found.json")
    *_, last = out.split("\n\n")
    head, *ranked, seeds = last.splitlines()
    assert head == "strengths   Bradley-Terry, a tie as half a win; 95 % intervals over 20 instructions"
    assert [line.split()[0] for line in ranked] == ["C", "B", "A"]
    assert [line.split()[-1] for line in ranked] == ["c", "b", "a"]
    assert [line.split("[")[1].split("]")[1].split()[0] for line in ranked] == ["68.8", "50.0", "31.2"]
    assert seeds.strip() == "of these trainings, and not of their recipes: training seeds are not allowed for"
    found = json.loads(Path("found.json").read_text())["strengths"]
    assert [one["run"] for one in found] == ["c", "b", "a"]
    expected = fit(np.array([[[0, 7.5, 5], [12.5, 0, 7.5], [15, 12.5, 0.0]]]))[0]
    assert [one["strength"] for one in found] == pytest.approx(expected[::-1], abs=1e-6)
    assert found[0]["interval"]["low"] < found[0]["strength"] < found[0]["interval"]["high"]
    assert "strengths" not in run(monkeypatch, capsys, "a", "b")


def test_wins_are_counted_by_instruction():
    rows = [verdict(0, "win", "x"), verdict(1, "tie", "x"), verdict(2, "loss", "y"), verdict(3, None, "z")]
    found = wins_by_instruction({(0, 2): rows}, 3)
    assert found.tolist() == [[[0, 0, 0.5], [0, 0, 0], [1.5, 0, 0]], [[0, 0, 1], [0, 0, 0], [0, 0, 0]]]


def test_runs_without_finite_strengths_are_ranked_by_their_wins(folder, monkeypatch, capsys):
    for name, right in (("a", 0), ("b", 6), ("c", 6)):
        write(folder / name, [*WORDS[:right], *["x"] * (6 - right)])
    out = run(monkeypatch, capsys, "a", "b", "c", "--json", "found.json")
    assert out.splitlines()[-5:] == [
        "            B       -    75.0 % won  b",
        "            C       -    75.0 % won  c",
        "            A       -     0.0 % won  a",
        f"            intervals: none: {NOT_FINITE}",
        "            of these trainings, and not of their recipes: training seeds are not allowed for",
    ]
    assert [one["strength"] for one in json.loads(Path("found.json").read_text())["strengths"]] == [None] * 3
