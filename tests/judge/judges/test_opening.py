"""The judge that params.yaml names."""

import pytest

from stages.common.errors import ConfigError, DataError
from stages.common.records import write_records
from stages.common.results.split import Example, split_file
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


ROW = Example(id="a", instruction="Name the capital of Peru.", input="", output="Lima.", category="facts")


@pytest.fixture
def train_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_records(split_file("train"), [ROW])


@pytest.mark.usefixtures("train_rows")
def test_the_built_in_judge_knows_the_train_rows():
    assert open_judge(settings(backend="reference")).identity() == ReferenceJudge.of_rows([ROW]).identity()
    assert open_judge(settings(backend="reference")).identity() != ReferenceJudge().identity()


def test_without_train_rows_the_built_in_judge_names_the_command_that_makes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        open_judge(settings(backend="reference"))
    assert "train.jsonl" in str(caught.value)
    assert caught.value.fix == "dvc repro split"


@pytest.mark.parametrize("backend", ["reference", "ollama", "openai"])
@pytest.mark.usefixtures("servers", "train_rows")
def test_an_unknown_rubric_is_refused_for_every_backend(backend):
    with pytest.raises(ConfigError) as caught:
        open_judge(settings(backend=backend, rubric="nonesuch"))
    assert caught.value.what == (
        "judge.rubric: expected one of book, graded-v1, levels-v1, reasoned-v1, the files in "
        "stages/judge/judges/rubrics; found 'nonesuch'"
    )
    assert caught.value.fix == (
        "set judge.rubric to one of them, in params.yaml or Prefect's form, or by --set judge.rubric=NAME"
    )
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("backend", ["ollama", "openai"])
@pytest.mark.usefixtures("servers")
def test_a_rubric_that_compares_scores_nothing(backend):
    with pytest.raises(ConfigError, match='reply: expected "score", "score and reason" or "integer", found "better"'):
        open_judge(settings(backend=backend, rubric="pairwise-v1"))


@pytest.mark.parametrize(
    ("backend", "model", "kind", "cacheable", "deterministic"),
    [
        ("reference", "any", ReferenceJudge, False, True),
        ("ollama", "llama3", OllamaJudge, True, False),
        ("openai", "judge-8b", OpenAIJudge, True, False),
    ],
)
@pytest.mark.usefixtures("servers", "train_rows")
def test_a_backend_says_of_itself_what_it_is(backend, model, kind, cacheable, deterministic):
    judge = open_judge(settings(backend=backend, model=model))
    judge.close()

    assert type(judge) is kind
    assert judge.identity()["backend"] == backend
    assert (judge.cacheable, judge.deterministic) == (cacheable, deterministic)
