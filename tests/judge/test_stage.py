"""The judge stage as a whole, in a folder of its own."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest

from stages.common import paths
from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.files import write_json
from stages.common.metrics.judge import JudgeMetrics
from stages.common.metrics.split import AlsoInTrain, Repeated, RepeatedPrompts, SplitMetrics
from stages.common.records import read_records, write_metrics, write_records
from stages.common.results.download import TOKENIZER
from stages.common.results.generate import RESPONSES, Response
from stages.common.results.judge import JUDGE_FOLDER, JUDGE_METRICS, SCORES, SCORES_CSV, SCORES_PLOT, VERDICTS, Verdict
from stages.common.results.split import SPLIT_METRICS, Example, split_file
from stages.judge.__main__ import main
from stages.judge.judges import ollama as judge_of_ollama
from stages.judge.probes import probes
from stages.judge.runs import compare
from stages.params.reading import merge, read_yaml
from stages.running import console, summary
from stages.running.costs import JUDGING_COSTS
from stages.running.tracking import description, mirror
from tests.fake_ollama import FakeOllama, careful, parts, score, server_error, text
from tests.root import ROOT

EXAMPLES = [
    Example(id="a", instruction="Name the capital of France.", input="", output="Paris.", category="facts"),
    Example(id="b", instruction="Correct the spelling.", input="freind", output="friend", category="spelling"),
    Example(id="c", instruction="Correct the spelling.", input="recieve", output="receive", category="spelling"),
]
ANSWERS = {
    ("a", "tuned"): "Paris.",
    ("b", "tuned"): "freind",
    ("c", "tuned"): "receive",
    ("a", "base"): "",
    ("b", "base"): "xyz",
    ("c", "base"): "recieve",
}


def respond(answers):
    return [
        Response(id=id, model=model, text=answer, stop_reason="end_of_text", tokens=3)
        for (id, model), answer in answers.items()
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what the stage reads; tracking is off."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_MLFLOW_RUN_ID", "none")
    configure()
    write_records(split_file("test"), EXAMPLES)
    write_metrics(SPLIT_METRICS, split_metrics(duplicates=["c"]))
    write_records(split_file("train"), EXAMPLES[:1])
    write_json(TOKENIZER / "encoder.json", {"Ġfriend": 1, "Ġ5": 2, "ing": 3})
    write_records(RESPONSES, respond(ANSWERS))
    return tmp_path


def split_metrics(duplicates):
    """What the stage split says of the rows; the judge needs the duplicates alone."""
    return SplitMetrics(
        rows={"all": 4, "train": 1, "test": 3, "val": 0},
        repeated_rows=Repeated(groups=0, rows_beyond_first=0),
        repeated_prompts=RepeatedPrompts(groups=0, rows_beyond_first=0, groups_with_different_outputs=0),
        prompts_also_in_train={"test": AlsoInTrain(count=len(duplicates), ids=duplicates)},
        within_splits={},
        characters={},
        categories={},
    )


def configure(models=("base", "tuned"), **changes):
    tree = json.loads(json.dumps(read_yaml(ROOT / "params.yaml")))
    quick = {"bootstrap_resamples": 200, "deadline_seconds": 300.0, "retries": 0}
    merge(tree, {"generate": {"models": list(models)}, "judge": quick | changes})
    paths.PARAMS.write_text(json.dumps(tree))  # JSON is YAML


def outputs():
    return {path.name: path.read_bytes() for path in JUDGE_FOLDER.iterdir()}


def earlier_results():
    JUDGE_FOLDER.mkdir(parents=True)
    JUDGE_METRICS.write_text("earlier")
    return outputs()


def verdicts():
    return list(read_records(VERDICTS, Verdict, made_by=""))


def metrics():
    return json.loads(JUDGE_METRICS.read_text())


def test_the_built_in_judge_gives_the_same_bytes_again(folder):
    main()
    first = outputs()
    shutil.rmtree(JUDGE_FOLDER)
    main()
    assert outputs() == first
    assert sorted(first) == [
        *("metrics.json", "pairwise.jsonl", "scores.csv", "scores.json", "scores.png", "verdicts.jsonl")
    ]
    assert not (folder / ".cache").exists()
    assert str(folder).encode() not in b"".join(first.values())


def test_what_is_written(folder):
    main()
    found = metrics()
    assert list(found) == ["judge", "self_test", "tuned", "base", "difference", "right_difference"]
    assert found["judge"]["backend"] == "reference"
    freind = next(verdict for verdict in verdicts() if (verdict.id, verdict.model) == ("b", "tuned"))
    assert (freind.score, freind.right) == (0.0, False)  # what is to be corrected is a copy of the prompt
    assert (found["tuned"]["n"], found["tuned"]["scored"], found["tuned"]["exact_matches"]) == (3, 3, 2)
    assert found["tuned"]["mean"] == pytest.approx((200 + freind.score) / 3, abs=0.001)
    assert found["tuned"]["categories"]["facts"] == {"n": 1, "scored": 1, "mean": 100.0, "right": 1}
    assert found["tuned"]["not_equal_to_reference"]["mean"] == freind.score
    assert (found["tuned"]["without_twin_in_train"]["n"], found["tuned"]["without_twin_in_train"]["mean"]) == (
        2,
        pytest.approx((100 + freind.score) / 2, abs=0.001),
    )
    assert found["base"]["exact_matches"] == 0
    assert (found["base"]["right"]["right"], found["tuned"]["right"]["right"]) == (0, 2)
    assert (found["tuned"]["right"]["n"], found["tuned"]["right"]["share"]) == (3, 0.6667)
    change = found["right_difference"]
    assert (change["n"], change["gained"], change["lost"], change["difference"]) == (3, 2, 0, 0.6667)
    assert {name: one["n"] for name, one in found["base"]["faults"].items()} == {
        "echo": 1,  # recieve
        "empty": 1,
        "misspelling": 1,
        "wrong but fluent": 1,  # xyz is too short to be looked up
    }
    assert found["base"]["faults"]["empty"]["points_lost"] == 33.333
    assert found["base"]["faults"]["empty"]["examples"] == [{"id": "a", "score": 0.0, "answer": ""}]
    assert freind.faults == ["echo", "misspelling"]
    assert {v.cluster for v in verdicts() if v.id in "bc"} == {freind.cluster}
    assert len({v.cluster for v in verdicts()}) == 2
    assert found["difference"]["n"] == 3
    assert found["difference"]["mean"] == pytest.approx(found["tuned"]["mean"] - found["base"]["mean"], abs=0.002)
    assert [(v.id, v.model) for v in verdicts()] == [
        (id, model) for id in ("a", "b", "c") for model in ("tuned", "base")
    ]
    assert SCORES_CSV.read_text().splitlines() == [
        "id,category,tuned,base,tuned_right,base_right",
        "a,facts,100.0,0.0,1,0",
        "b,spelling,0.0,0.0,0,0",
        "c,spelling,100.0,0.0,1,0",
    ]
    assert SCORES_PLOT.read_bytes().startswith(b"\x89PNG")


def test_the_tuned_model_alone(folder):
    configure(models=["tuned"])
    write_records(RESPONSES, respond({key: answer for key, answer in ANSWERS.items() if key[1] == "tuned"}))
    main()
    assert list(metrics()) == ["judge", "self_test", "tuned"]


def test_the_headlines_name_the_judge_so_that_a_diff_of_two_judges_shows_it(folder, monkeypatch):
    main()
    first = json.loads(SCORES.read_text())["judge"]
    assert first == f"reference {metrics()['judge']['fingerprint'][:12]}"
    configure(backend="ollama")
    with FakeOllama() as server:
        ollama(monkeypatch, server)
        main()
    assert json.loads(SCORES.read_text())["judge"] == f"llama3 {metrics()['judge']['fingerprint'][:12]}"


def ollama(monkeypatch, server):
    monkeypatch.setenv("OLLAMA_HOST", server.address)


def test_ollama_from_end_to_end(folder, monkeypatch):
    configure(backend="ollama", parallel=3)
    with FakeOllama() as server:
        ollama(monkeypatch, server)
        main()
    first = outputs()
    assert metrics()["judge"]["digest"] == server.model_entry()["digest"]
    assert metrics()["self_test"]["separation"] > 60
    assert len(list(Path(".cache/judge").glob("*.jsonl"))) == 1
    assert len(server.chats) == 126 + 2 * 6 + 6  # the probes, the unsure ones again, the answers
    ledger = json.loads(JUDGING_COSTS.read_text())
    assert (ledger["replies"], ledger["reply_tokens"]) == (126 + 1 + 2 * 6 + 6, 10 * (126 + 2 * 6 + 6) + 1)
    assert (ledger["size_vram"], ledger["context_length"]) == (5_000_000_000, 8192)
    assert "tokens read, 10 tokens written, " in summary.text()
    with FakeOllama([server_error(500)]) as server:
        ollama(monkeypatch, server)
        main()
    assert server.chats == []
    assert outputs() == first
    assert json.loads(JUDGING_COSTS.read_text()) == ledger


def test_how_scores_are_made_is_part_of_what_runs_are_compared_by(folder, monkeypatch):
    """Skipped exact answers are worth 100, asked ones what the judge thinks of them; the verdicts' cache is one."""
    found = {}
    with FakeOllama() as server:
        ollama(monkeypatch, server)
        for exact_match in ("ask", "skip"):
            configure(backend="ollama", exact_match=exact_match)
            main()
            found[exact_match] = metrics()["judge"]
    assert {name for name in found["ask"] if found["ask"][name] != found["skip"][name]} == {
        "fingerprint",
        "exact_match",
    }
    assert len(list(Path(".cache/judge").glob("*.jsonl"))) == 1
    for exact_match in ("ask", "skip"):  # the built-in judge gives them 100 as well
        configure(exact_match=exact_match)
        main()
        found[exact_match] = metrics()["judge"]
    assert found["ask"] == found["skip"]


def test_replies_that_are_read_in_another_way_are_those_of_another_judge(folder, monkeypatch):
    """Verdicts that an earlier version read are not taken from the cache, and `compare` sees two judges."""
    configure(backend="ollama")
    found = []
    for version in ("1", "2"):
        monkeypatch.setattr(judge_of_ollama, "READING_VERSION", version)
        with FakeOllama() as server:
            ollama(monkeypatch, server)
            main()
        found.append((metrics()["judge"]["fingerprint"], len(server.chats)))
    assert found[0][0] != found[1][0]
    assert found[0][1] == found[1][1] > 0


def test_how_long_a_slow_judge_takes_is_said_after_its_first_verdicts(folder, monkeypatch, capsys):
    monkeypatch.setattr(console, "SECONDS_BEFORE", 0.0)
    configure(backend="ollama")

    def slow(body):
        time.sleep(0.03)
        return careful(body)

    with FakeOllama([slow]) as server:
        ollama(monkeypatch, server)
        main()
    said = [
        line for line in capsys.readouterr().out.splitlines() if re.search(r"; the rest will take about \d+ ", line)
    ]
    told = [line.partition(";")[0] for line in said]
    assert told[0] == f"trying the judge: 5 of {len(probes())} verdicts"
    # Of the sixth verdict something is said only where it takes half a second.
    assert told[1:] in ([], ["judging: 5 of 6 verdicts"])


def test_a_gone_ollama_leaves_earlier_results_as_they_were(folder, monkeypatch):
    before = earlier_results()
    configure(backend="ollama")
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    with pytest.raises(ServiceUnavailable):
        main()
    assert outputs() == before


@pytest.mark.parametrize(
    ("behaviour", "error", "counts", "said"),
    [
        (text("85/100"), ConfigError, (1, 0), "b: not JSON; found '85/100'"),
        (server_error(503, "busy"), ServiceUnavailable, (0, 1), "b: HTTP 503: busy"),
    ],
)
def test_too_many_answers_without_a_score_fail_the_stage_when_all_is_saved(
    folder, monkeypatch, behaviour, error, counts, said
):
    def behave(body):
        return behaviour if parts(body) == ("friend", "freind") else careful

    configure(backend="ollama", max_invalid=0.3)  # of both models' six answers it is a sixth, of one's three a third
    with FakeOllama(behave) as server:
        ollama(monkeypatch, server)
        with pytest.raises(error) as caught:
            main()
    assert "1 of 3 answers of the model tuned has no score" in caught.value.what
    assert said in caught.value.what
    assert (metrics()["tuned"]["invalid"], metrics()["tuned"]["failed"]) == counts
    assert len(verdicts()) == 6

    configure(backend="ollama", max_invalid=0.4)
    with FakeOllama(behave) as server:
        ollama(monkeypatch, server)
        main()
    assert len(server.chats) == counts[1]  # what failed is asked again; what was said that is no score is known
    assert metrics()["difference"]["n"] == 2


def test_results_that_do_not_stand_are_not_to_be_published(folder, monkeypatch, capsys):
    """`python -m flows.publish` would refuse them: dvc.lock never names what a failed stage has written."""
    monkeypatch.delenv("PIPELINE_MLFLOW_RUN_ID")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    configure(backend="ollama", max_invalid=0.3)

    def behave(body):
        return text("85/100") if parts(body) == ("friend", "freind") else careful

    with FakeOllama(behave) as server:
        ollama(monkeypatch, server)
        with pytest.raises(ConfigError, match="1 of 3 answers of the model tuned has no score"):
            main()
        failed = capsys.readouterr().out
        configure(backend="ollama", max_invalid=0.4)
        main()
    assert re.search("MLflow +not there; it takes results that stand", failed)
    assert "flows.publish" not in failed
    assert re.search("MLflow +not there; to add these results: python -m flows.publish", capsys.readouterr().out)


def test_a_run_that_ends_in_the_middle_leaves_what_it_has_taken(folder, monkeypatch):
    earlier_results()
    configure(backend="ollama")
    with FakeOllama([score(95)]) as server:
        ollama(monkeypatch, server)
        with pytest.raises(ConfigError, match="this judge cannot judge"):
            main()
    ledger = json.loads(JUDGING_COSTS.read_text())
    assert 10 <= ledger["replies"] < 54
    assert "verdicts" not in ledger  # those of an earlier run did not take it


def test_a_judge_that_gives_everything_95_is_not_let_score(folder, monkeypatch):
    before = earlier_results()
    configure(backend="ollama")
    with FakeOllama([score(95)]) as server:
        ollama(monkeypatch, server)
        with pytest.raises(ConfigError, match="this judge cannot judge, which is certain after"):
            main()
    assert outputs() == before


def test_a_judge_that_was_refused_may_judge_and_is_marked_wherever_its_scores_are(folder, monkeypatch, capsys):
    configure(backend="ollama", on_refusal="warn", min_separation=99.0)
    with FakeOllama() as server:
        ollama(monkeypatch, server)
        main()
    mark = "refused by its self-test"
    assert metrics()["judge"]["self_test"] == mark
    assert metrics()["self_test"]["refused"].startswith("this judge cannot judge: right answers score")
    assert "(REFUSED BY ITS SELF-TEST)" in json.loads(SCORES.read_text())["judge"]
    told = summary.text()
    assert "by llama3 (REFUSED BY ITS SELF-TEST)" in told
    assert "WARNING    this judge cannot judge: right answers score" in told
    found = JudgeMetrics.model_validate_json(JUDGE_METRICS.read_text())
    assert mirror.judge_tags(found)["judge.self_test"] == mark
    assert "(REFUSED BY ITS SELF-TEST)" in description.of_results({}, None, found)
    monkeypatch.setattr("sys.argv", ["compare", "artifacts", "artifacts"])
    capsys.readouterr()
    compare.main()
    told = capsys.readouterr().out
    assert "WARNING     A: the judge: REFUSED BY ITS SELF-TEST" in told
    assert "WARNING     B: the judge: REFUSED BY ITS SELF-TEST" in told

    first, fingerprint = verdicts(), metrics()["judge"]["fingerprint"]
    configure(backend="ollama", min_separation=40.0)
    with FakeOllama() as server:
        ollama(monkeypatch, server)
        main()
    assert server.chats == []
    assert "self_test" not in metrics()["judge"]
    assert (metrics()["judge"]["fingerprint"], verdicts()) == (fingerprint, first)


def test_an_answer_equal_to_its_reference_can_be_left_out(folder, monkeypatch):
    configure(backend="ollama", exact_match="skip")
    with FakeOllama() as server:
        ollama(monkeypatch, server)
        main()
    assert len(server.chats) == 126 + 2 * 6 + 4
    skipped = [(v.id, v.model, v.score) for v in verdicts() if v.detail == "equal to the reference; not asked"]
    assert skipped == [("a", "tuned", 100.0), ("c", "tuned", 100.0)]
    assert metrics()["tuned"]["exact_matches"] == 2


def test_each_answer_can_be_judged_several_times(folder, monkeypatch):
    def by_seed(body):
        return (
            careful if parts(body)[0] not in ("friend", "receive") else score(40 + 10 * (body["options"]["seed"] % 3))
        )

    configure(backend="ollama", repeats=3, temperature=0.7, seed=3)
    with FakeOllama(by_seed) as server:
        ollama(monkeypatch, server)
        main()
    found = next(v for v in verdicts() if (v.id, v.model) == ("b", "tuned"))
    assert (found.score, found.spread, found.detail) == (50.0, 10.0, "3 judgements: 40, 50, 60")
    assert metrics()["self_test"]["unstable"] == 0.0  # with one seed it says the same again


def test_a_model_that_changes_in_mid_run_leaves_no_score_behind(folder, monkeypatch):
    before = earlier_results()
    configure(backend="ollama")

    def behave(body):
        if parts(body) == ("friend", "freind"):
            server.digest = "f" * 64
        return careful

    with FakeOllama(behave) as server:
        ollama(monkeypatch, server)
        with pytest.raises(ServiceUnavailable, match=f"the judge changed while it judged: digest .* is now {'f' * 64}"):
            main()
        assert outputs() == before
        assert [path.read_bytes() for path in Path(".cache/judge").glob("*.jsonl")] == [b""]
        main()
    assert metrics()["judge"]["digest"] == "f" * 64
    assert metrics()["tuned"]["scored"] == 3
