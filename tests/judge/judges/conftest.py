import pytest

from stages.judge.judges.ollama import OllamaJudge, open_ollama_judge
from tests.judge.judging import settings


@pytest.fixture
def opened(monkeypatch):
    """Open a judge on a server; judges are closed at the end of the test."""
    judges = []

    def open_(server, stall=30.0, **changes) -> OllamaJudge:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        judges.append(open_ollama_judge(settings(**changes), first_wait=0.01, stall=stall))
        return judges[-1]

    yield open_
    for judge in judges:
        judge.close()
