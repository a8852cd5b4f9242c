"""Several judges on the same answers: figures worked by hand, and the stage with a panel."""

import json
import re
import shutil

import pytest

from stages.common.errors import ConfigError, ServiceUnavailable
from stages.common.metrics.judge import JudgeIdentity, JudgeMetrics
from stages.common.results.judge import SCORES, SCORES_CSV, VERDICTS, Verdict
from stages.judge.__main__ import main
from stages.judge.preflight import rows as preflight_rows
from stages.judge.scores.several_judges import calls_right, names_of, summarise_panel
from stages.params import whole
from stages.running.costs import JudgingCosts
from stages.running.summary_parts.scores import score_lines
from stages.running.tracking import metric_names
from tests.fake_ollama import FakeOllama, careful, is_right, parts, score
from tests.fake_openai import FakeOpenAI
from tests.fake_openai import text as openai_text
from tests.judge.test_stage import configure, folder, metrics  # noqa: F401 a fixture

FIRST = JudgeIdentity(fingerprint="1" * 32, backend="reference")
LLAMA = JudgeIdentity(fingerprint="2" * 32, backend="ollama", model="llama3")
OTHER = JudgeIdentity(fingerprint="3" * 32, backend="openai", model="llama3")


def verdicts(*scores, right=None):
    return [
        Verdict(
            id=f"r{n}",
            model="tuned",
            status="open" if value is None else "scored",
            score=value,
            detail="",
            cluster=f"c{n}",
            right=None if right is None or value is None else right[n],
        )
        for n, value in enumerate(scores)
    ]


def test_the_figures_of_three_judges_by_hand():
    """Medians 90, 40, 80 and 0; the row without a score by the first judge is left out of all figures.

    By majority the first and the third answer are right: 80 is right, and 79 is not.
    """
    found = summarise_panel(
        [FIRST, LLAMA, OTHER],
        [
            {"tuned": verdicts(100.0, 40.0, 20.0, 0.0, None, right=[True, False, False, False, None])},
            {"tuned": verdicts(90.0, 79.0, 80.0, 0.0, 50.0)},
            {"tuned": verdicts(10.0, 0.0, 95.0, 100.0, 60.0)},
        ],
        resamples=100,
        seed=1,
    )
    tuned = found.tuned
    assert found.names == ["built-in reference judge", "llama3 (ollama)", "llama3 (openai)"]
    assert (tuned.n, tuned.left_out) == (4, 1)
    assert tuned.means == {"built-in reference judge": 40.0, "llama3 (ollama)": 62.25, "llama3 (openai)": 51.25}
    assert tuned.median.mean == 52.5
    assert (tuned.right.right, tuned.right.n, tuned.right.share) == (2, 4, 0.5)
    assert tuned.alpha_interval.method == "none: 4 of the 10 instructions that it takes"
    assert found.base is None
    assert found.judges == [LLAMA, OTHER]


def test_half_of_the_judges_are_no_majority():
    found = summarise_panel(
        [FIRST, LLAMA],
        [{"tuned": verdicts(100.0, 100.0, right=[True, True])}, {"tuned": verdicts(100.0, 0.0)}],
        resamples=100,
        seed=1,
    ).tuned
    assert (found.right.right, found.right.n, found.median.mean) == (1, 2, 75.0)
    assert found.alpha == pytest.approx(1 - (20000 / 4) / (2 * (4 * 30000 - 90000) / 12))


def test_a_judge_that_says_right_is_believed_whatever_its_score():
    right, wrong = verdicts(70.0, 85.0, right=[True, False])
    assert (calls_right(right), calls_right(wrong)) == (True, False)
    assert [calls_right(one) for one in verdicts(80.0, 79.9)] == [True, False]


def test_without_a_row_that_all_have_scored_there_are_no_figures():
    found = summarise_panel(
        [FIRST, LLAMA], [{"tuned": verdicts(None, 1.0)}, {"tuned": verdicts(1.0, None)}], resamples=100, seed=1
    ).tuned
    assert (found.n, found.left_out, found.median.mean, found.right, found.alpha) == (0, 2, None, None, None)
    json.dumps(found.model_dump(), allow_nan=False)


def test_both_models_have_their_own_figures():
    """The base model's answers by the same two judges: medians 15 and 35 instead of 95 and 45."""
    found = summarise_panel(
        [FIRST, LLAMA],
        [
            {"tuned": verdicts(100.0, 40.0), "base": verdicts(10.0, 30.0)},
            {"tuned": verdicts(90.0, 50.0), "base": verdicts(20.0, 40.0)},
        ],
        resamples=100,
        seed=1,
    )
    assert (found.tuned.median.mean, found.base.median.mean) == (70.0, 25.0)


def test_an_alpha_that_rounds_to_zero_has_no_sign():
    """It is 0 where the first row's second score is 200 / 3, and -0.00002 a thousandth above."""
    found = summarise_panel(
        [FIRST, LLAMA], [{"tuned": verdicts(0.0, 100.0)}, {"tuned": verdicts(66.668, 50.0)}], resamples=100, seed=1
    )
    assert repr(found.tuned.alpha) == "0.0"


def test_names_are_those_of_the_models():
    assert names_of([FIRST, LLAMA]) == ["built-in reference judge", "llama3"]


def says_80(body):
    """A judge of OpenAI's protocol: 80 for what is right, and 5."""
    found = parts(body)
    return openai_text(json.dumps({"score": 80 if found and is_right(*found) else 5}))(body)


PANEL = [{"backend": "ollama", "model": "llama3"}, {"backend": "openai", "model": "judge-8b"}]


@pytest.fixture
def servers(monkeypatch):
    with FakeOllama() as ollama, FakeOpenAI([says_80]) as openai:
        monkeypatch.setenv("OLLAMA_HOST", ollama.address)
        monkeypatch.setenv("OPENAI_BASE_URL", openai.url)
        yield ollama, openai


@pytest.mark.thorough
def test_the_stage_with_a_panel(folder, servers):  # noqa: F811
    ollama, openai = servers
    main()
    alone = {path: path.read_bytes() for path in (VERDICTS, SCORES, SCORES_CSV)}
    plain = metrics()
    configure(panel=PANEL)
    main()
    found = metrics()
    panel = found.pop("panel")
    assert found == plain
    assert VERDICTS.read_bytes() == alone[VERDICTS]
    headline = json.loads(SCORES.read_text())
    assert json.dumps({**headline, "panel": None}) == json.dumps({**json.loads(alone[SCORES]), "panel": None})
    assert panel["names"] == ["built-in reference judge", "llama3", "judge-8b"]
    assert [judge["backend"] for judge in panel["judges"]] == ["ollama", "openai"]
    # Of the three answers two are the references: 100, 90 and more, 80; the third gets 0, 40 or less, 5.
    assert (panel["tuned"]["n"], panel["tuned"]["right"]["right"], panel["base"]["right"]["right"]) == (3, 2, 0)
    assert panel["tuned"]["means"]["judge-8b"] == 55.0
    assert panel["tuned"]["alpha"] > 0.8
    assert headline["panel"]["right"]["n"] == 2
    assert headline["panel"]["judges"].startswith("reference ")
    header, first, *_ = SCORES_CSV.read_text().splitlines()
    assert header.split(",")[-4:] == ["tuned_by_llama3", "base_by_llama3", "tuned_by_judge-8b", "base_by_judge-8b"]
    assert first.split(",")[-2:] == ["80.0", "5.0"]
    told = "\n".join(score_lines(JudgeMetrics.model_validate(metrics()), [])).replace("\N{NO-BREAK SPACE}", " ")
    assert re.search(r"^judges: +built-in reference judge [\d.]+, llama3 [\d.]+, judge-8b 55.0$", told, re.M)
    assert re.search(r"^median +[\d.]+ of 100 points, no interval   on the 3 answers that all have scored$", told, re.M)
    assert re.search(r"^majority   0 → 2 of 3 answers right, 66.7 % \[", told, re.M)
    assert re.search(r"^agreement  Krippendorff's alpha 0\.\d\d$", told, re.M)
    asked = len(ollama.chats), len(openai.bodies)
    main()
    assert (len(ollama.chats), len(openai.bodies)) == asked  # nothing is asked twice


@pytest.mark.thorough
def test_a_further_judge_that_is_away_or_refused_or_says_nothing_stops_the_stage(folder, servers, monkeypatch):  # noqa: F811
    configure(panel=[{"backend": "ollama", "model": "missing"}])
    with pytest.raises(ConfigError, match="missing"):
        main()
    configure(panel=PANEL[:1])
    with FakeOllama([score(50)]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        with pytest.raises(ConfigError, match="this judge cannot judge"):
            main()
        assert not VERDICTS.exists()  # before anything is scored
    shutil.rmtree(".cache")

    def fails_on_rows(body):
        found = parts(body)
        return score("none") if found and found[1] == "freind" else careful

    with FakeOllama(fails_on_rows) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.address)
        with pytest.raises(
            (ConfigError, ServiceUnavailable), match=r"1 of 3 answers of the model tuned has no score by llama3"
        ):
            main()
    assert metrics()["panel"]["tuned"]["left_out"] == 1


def test_each_judge_is_there_once(folder):  # noqa: F811
    for given, wrong in (
        ({"backend": "ollama", "model": "llama3", "panel": PANEL}, "llama3 of ollama twice"),
        ({"panel": [PANEL[1], PANEL[1]]}, "judge-8b of openai twice"),
    ):
        configure(**given)
        with pytest.raises(ConfigError, match=f"panel: each judge once, and not the first one again; found {wrong}"):
            whole.load()
    configure(backend="reference", model="llama3", panel=PANEL)  # the model of a judge that has none
    first, second = whole.load().judge.further()
    assert (first.backend, first.model, first.panel, second.backend) == ("ollama", "llama3", [], "openai")


def test_the_check_before_a_run_looks_at_each_judge(folder, servers):  # noqa: F811
    configure(panel=[*PANEL, {"backend": "ollama", "model": "missing"}])
    found = {row.name: row for row in preflight_rows(whole.load())}
    assert "127.0.0.1" in found["judge llama3"].found
    assert "judge-8b" in found["judge judge-8b"].found
    assert "missing" in found["judge missing"].found


def test_mlflow_has_the_figures_of_the_panel():
    found = summarise_panel(
        [FIRST, LLAMA],
        [{"tuned": verdicts(*[100.0, 0.0] * 6)}, {"tuned": verdicts(*[90.0, 10.0] * 6)}],
        resamples=100,
        seed=1,
    )
    figures = metric_names._without_gaps(metric_names._panel("judge_panel", found.tuned))
    assert figures["judge_panel/median"] == 50.0
    assert figures["judge_panel/right_n"] == 6
    assert figures["judge_panel/alpha_ci95_lower"] <= figures["judge_panel/alpha"]


def test_the_costs_of_all_judges_are_counted_together():
    one = JudgingCosts(replies=3, seconds=1.5, prompt_tokens=10, reply_tokens=4, size_vram=7)
    assert one.plus(JudgingCosts(replies=1, seconds=0.5, prompt_tokens=2)) == JudgingCosts(
        replies=4,
        seconds=2.0,
        prompt_tokens=12,
        reply_tokens=None,
        load_seconds=None,
        prompt_seconds=None,
        reply_seconds=None,
        size_vram=7,
    )
