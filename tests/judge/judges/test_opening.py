"""The judge that params.yaml names."""

from typing import get_args

import pytest

from stages.judge.judges.opening import open_judge
from stages.params.judge import Judge
from tests.fake_ollama import FakeOllama, score
from tests.fake_openai import FakeOpenAI
from tests.fake_openai import score as openai_score
from tests.judge.judging import settings


@pytest.fixture
def servers(monkeypatch):
    """A server for every backend that needs one."""
    with FakeOllama([score(85)]) as ollama, FakeOpenAI([openai_score(85)]) as openai:
        monkeypatch.setenv("OLLAMA_HOST", ollama.address)
        monkeypatch.setenv("OPENAI_BASE_URL", openai.url)
        yield


@pytest.mark.parametrize("backend", get_args(Judge.model_fields["backend"].annotation))
@pytest.mark.usefixtures("servers")
def test_every_backend_opens_and_says_which_it_is(backend):
    model = {"openai": "judge-8b"}.get(backend, "llama3")
    judge = open_judge(settings(backend=backend, model=model))
    judge.close()

    assert judge.identity()["backend"] == backend
    assert (judge.cacheable, judge.deterministic) == ((False, True) if backend == "reference" else (True, False))
