"""What is seen of the judge before a run: in seconds, and only what the run needs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import time
from collections.abc import Iterator

import pytest

from stages.common.records import write_metrics
from stages.common.results.split import SPLIT_METRICS
from stages.judge import preflight
from stages.judge.judges.ollama import open_ollama_judge
from stages.judge.judges.openai import open_openai_judge
from stages.judge.judges.transport import NotRunning
from stages.judge.self_test import SELF_TESTS, self_test
from stages.params import reading, whole
from stages.running import machine
from stages.running.costs import JUDGING_COSTS, JudgingCosts
from tests import small_pipeline
from tests.fake_ollama import DIGEST, FakeOllama
from tests.fake_openai import FakeOpenAI, score
from tests.judge import judging


def look(folder, **judge):
    """The rows by name, as (state, found, fix)."""
    tree = small_pipeline.read_yaml(small_pipeline.ROOT / "params.yaml")
    reading.merge(tree, {"judge": {"backend": "ollama"} | judge})
    return {row.name: row for row in preflight.rows(whole.check(tree))}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_the_built_in_judge_needs_nothing(tmp_path):
    rows = look(tmp_path, backend="reference")

    assert [row.state for row in rows.values()] == ["ok"]


@pytest.mark.parametrize("backend", ["reference", "ollama", "openai"])
def test_an_unknown_rubric_is_told_before_the_training_whatever_the_judge(tmp_path, backend):
    row = look(tmp_path, backend=backend, rubric="nonesuch")["judge"]

    assert (row.state, row.exit_code) == ("problem", 78)
    assert row.found.startswith("judge.rubric: expected one of book, graded-v1, ")


def test_human_labels_that_are_missing_are_told_before_the_training(tmp_path):
    (tmp_path / "labels.jsonl").write_text("")
    empty = {"source": "labels.jsonl", "sha256": hashlib.sha256().hexdigest()}
    there = look(tmp_path, backend="reference", calibration=empty)
    gone = look(tmp_path, backend="reference", calibration=empty | {"source": "gone.jsonl"})
    other = look(tmp_path, backend="reference", calibration=empty | {"sha256": "0" * 64})
    to_come = look(tmp_path, backend="reference", calibration=empty | {"source": "data/labels.jsonl"})

    assert there["judge labels"].state == "ok"
    assert (gone["judge labels"].state, gone["judge labels"].exit_code) == ("problem", 78)
    assert (other["judge labels"].state, other["judge labels"].exit_code) == ("problem", 65)
    assert "judge labels" not in to_come


def test_an_ollama_that_does_not_run_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{free_port()}")
    began = time.monotonic()

    rows = look(tmp_path)

    assert time.monotonic() - began < 3
    (row,) = rows.values()
    assert (row.name, row.state, row.exit_code, row.absent) == ("judge", "problem", 69, True)
    assert row.found.endswith("no connection: Connection refused")
    assert row.fix == "ollama serve, or OLLAMA_HOST=host:port where it runs elsewhere"


def test_a_model_that_is_not_pulled_is_told_with_the_command_that_pulls_it(tmp_path, monkeypatch):
    with FakeOllama(model="other") as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        (row,) = look(tmp_path).values()

    assert (row.state, row.exit_code, row.absent, row.fix) == ("problem", 78, False, "ollama pull llama3")
    assert row.found.endswith("has no model 'llama3'; it has other:latest")


def test_a_context_that_the_model_does_not_take_is_told(tmp_path, monkeypatch):
    with FakeOllama() as server:
        server.context_length = 1024
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        (row,) = look(tmp_path).values()

    assert row.state == "problem"
    assert row.fix == "set judge.num_ctx to 1024 or less in params.yaml"


def test_a_server_that_is_slow_costs_seconds_and_is_a_warning(tmp_path, monkeypatch):
    with silent() as address:
        monkeypatch.setenv("OLLAMA_HOST", address)
        began = time.monotonic()
        (row,) = look(tmp_path).values()

    assert time.monotonic() - began < preflight.SECONDS + 2
    assert row.state == "warning"
    assert "no complete answer within 3 s" in row.found


def test_a_judge_that_is_there_is_named_and_nothing_is_loaded(tmp_path, monkeypatch):
    with FakeOllama() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        rows = look(tmp_path)

    assert {row.state for row in rows.values()} == {"ok"}
    assert DIGEST[:12] in rows["judge"].found
    assert rows["judge self-test"].found.startswith("to come, before it judges: 126 questions")
    assert rows["judge time"].found.startswith("not known beforehand")
    assert server.loads == server.chats == []


@pytest.mark.parametrize("refuses", [True, False])
def test_a_self_test_that_was_passed_is_known(tmp_path, monkeypatch, refuses):
    with FakeOllama() as server:
        server.refuses = refuses
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        tree = small_pipeline.read_yaml(small_pipeline.ROOT / "params.yaml")
        settings = whole.check(tree).judge.model_copy(update={"backend": "ollama"})
        with contextlib.closing(open_ollama_judge(settings)) as judge:
            self_test(judge, settings, SELF_TESTS)
        rows = look(tmp_path)
        other = look(tmp_path, rubric="levels-v1")

    assert rows["judge self-test"].found == "passed earlier, and not repeated"
    assert other["judge self-test"].found.startswith("to come")


@pytest.mark.parametrize(("on_refusal", "state"), [("stop", "problem"), ("warn", "warning")])
def test_a_self_test_that_refused_the_judge_is_known(tmp_path, monkeypatch, on_refusal, state):
    with FakeOllama() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        tree = small_pipeline.read_yaml(small_pipeline.ROOT / "params.yaml")
        settings = whole.check(tree).judge.model_copy(update={"backend": "ollama", "on_refusal": "warn"})
        with contextlib.closing(open_ollama_judge(settings)) as judge:
            self_test(judge, settings, SELF_TESTS)
        row = look(tmp_path, min_separation=99.0, on_refusal=on_refusal)["judge self-test"]

    assert row.state == state
    assert row.found.startswith("this judge cannot judge: right answers score")


def test_the_time_is_that_of_the_last_judging_for_each_verdict(tmp_path, monkeypatch):
    census = {"rows": {"train": 1, "test": 100, "val": 1}} | {
        "repeated_rows": {"groups": 0, "rows_beyond_first": 0},
        "repeated_prompts": {"groups": 0, "rows_beyond_first": 0, "groups_with_different_outputs": 0},
        "prompts_also_in_train": {},
        "within_splits": {},
        "characters": {},
        "categories": {},
    }
    SPLIT_METRICS.parent.mkdir(parents=True)
    SPLIT_METRICS.write_text(json.dumps(census))
    JUDGING_COSTS.parent.mkdir(parents=True)
    write_metrics(JUDGING_COSTS, JudgingCosts(replies=10, seconds=20.0))
    with FakeOllama() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        found = look(tmp_path, mode="pairwise")["judge time"].found

    # Two models' answers to 100 rows, and each pair in both orders, at 2 seconds each.
    assert found.startswith("about 13 min 20 s for 400 verdicts")


def test_a_model_that_does_not_fit_into_memory_is_a_warning(tmp_path, monkeypatch):
    with FakeOllama() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        server.size = 1 << 50
        loaded = look(tmp_path)
        server.loaded = False
        rows = look(tmp_path)

    assert "judge memory" not in loaded  # it takes no more than it has
    assert rows["judge memory"].state == "warning"
    assert "1048576.0 GiB when it is loaded" in rows["judge memory"].found
    assert machine.free_memory() < 1 << 50


def test_an_openai_compatible_judge(tmp_path, monkeypatch):
    with FakeOpenAI([score(85)]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        there = look(tmp_path, backend="openai", model="judge-8b")
        unknown = look(tmp_path, backend="openai", model="other")
        server.refused = "sk-x"
        without_key = look(tmp_path, backend="openai", model="judge-8b")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free_port()}/v1")
    absent = look(tmp_path, backend="openai", model="judge-8b")
    monkeypatch.delenv("OPENAI_BASE_URL")
    of_openai = look(tmp_path, backend="openai", model="gpt-4o")

    assert {row.state for row in there.values()} == {"ok"}
    assert server.bodies == server.trials == []
    assert unknown["judge"].found.endswith("has no model 'other'; it has judge-8b")
    assert "wants a key, and OPENAI_API_KEY is not set" in without_key["judge"].found
    assert (without_key["judge"].exit_code, without_key["judge"].fix) == (78, "export OPENAI_API_KEY=...")
    assert (absent["judge"].exit_code, absent["judge"].absent) == (69, True)
    # It is not asked: nobody gets an answer there without a key.
    assert of_openai["judge"].found.startswith("OPENAI_API_KEY: not set")


@pytest.mark.parametrize("backend", ["ollama", "openai"])
def test_a_judge_that_does_not_run_here_is_not_asked_again(monkeypatch, backend):
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("OLLAMA_HOST", address)
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://{address}/v1")
    opened = {"ollama": open_ollama_judge, "openai": open_openai_judge}[backend]
    began = time.monotonic()

    with pytest.raises(NotRunning, match="Connection refused"):
        opened(judging.settings(backend=backend, retries=20))

    assert time.monotonic() - began < 2
