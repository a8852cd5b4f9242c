"""The judge that params.yaml names."""

import pytest

from stages.judge.judges.ollama import OllamaJudge
from stages.judge.judges.openai import OpenAIJudge
from stages.judge.judges.opening import open_judge
from stages.judge.judges.reference import ReferenceJudge
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


@pytest.mark.parametrize(
    ("backend", "model", "kind", "cacheable", "deterministic"),
    [
        ("reference", "any", ReferenceJudge, False, True),
        ("ollama", "llama3", OllamaJudge, True, False),
        ("openai", "judge-8b", OpenAIJudge, True, False),
    ],
)
@pytest.mark.usefixtures("servers")
def test_a_backend_says_of_itself_what_it_is(backend, model, kind, cacheable, deterministic):
    judge = open_judge(settings(backend=backend, model=model))
    judge.close()

    assert type(judge) is kind
    assert judge.identity()["backend"] == backend
    assert (judge.cacheable, judge.deterministic) == (cacheable, deterministic)
