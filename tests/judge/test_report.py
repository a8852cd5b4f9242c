"""The report of a run: what it tells, that nothing in it can do anything, and that it never grows too large."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from stages.common.files import sha256, write_json, write_jsonl
from stages.common.metrics.beside import Beside, Further
from stages.common.metrics.finetune import FinetuneMetrics
from stages.common.metrics.generate import GenerateMetrics
from stages.common.metrics.judge import Mean, PanelMetrics, PanelScores
from stages.common.records import read_metrics, write_metrics
from stages.common.results.download import LEFT_OUT
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY
from stages.common.results.generate import GENERATE_METRICS
from stages.common.results.judge import JUDGE_METRICS, VERDICTS
from stages.common.results.split import SPLIT_METRICS, split_file
from stages.common.results.tokenize import Encoded
from stages.gpt2.tokenizer import END_OF_TEXT
from stages.judge.report import facts
from stages.judge.report.page import MOST, page
from stages.params.tokenize import Tokenize
from stages.running import digests, git
from stages.running.beside import Told
from stages.running.costs import STAGE_COSTS
from stages.running.summary_parts.scores import score_lines
from stages.tokenize.shown import explained
from tests import results
from tests.judge.report import a_run
from tests.root import ROOT
from tests.tokenize.test_shown import Tokens

EVIL = "</script><script>alert(1)</script><img src=x onerror=\"alert('2')\">&amp;\x1b[2J\u202eevil\x00"

#: Elements that may stand in a page, and attributes.
_TAGS = {
    *("html", "head", "meta", "title", "style", "script", "body", "main", "header", "nav", "section", "article"),
    *("h1", "h2", "h3", "p", "a", "b", "i", "span", "small", "code", "pre", "ul", "li", "dl", "dt", "dd", "div"),
    *("table", "thead", "tbody", "tr", "th", "td", "details", "summary", "figure", "figcaption", "svg", "path"),
    *("desc", "text", "circle", "form", "label", "input", "select", "option", "output"),
}
#: By these a page could ask for something. A link of the page's own contents begins with "#".
_ASKING = {"src", "srcset", "action", "data", "poster", "background", "formaction", "style", "xlink:href"}


class _Parsed(HTMLParser):
    """A page: its tags, its attributes and its text; every element must be closed."""

    def __init__(self, made: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str | None] = []
        self.rows: list[dict[str, str | None]] = []
        self._open: list[str] = []
        self.text = ""
        self.feed(made)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        if tag == "tr" and "data-n" in dict(attrs):
            self.rows.append(dict(attrs))
        if tag not in ("meta", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.text += f"{data} "

    @property
    def words(self) -> str:
        """The text, with one blank between two words."""
        return " ".join(self.text.split())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose dvc.lock records its files, in a folder of no repository."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/no-mlflow.db")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    a_run.write(tmp_path)
    a_run.lock(tmp_path)
    return tmp_path


def test_a_run_that_is_compared_with_no_other_says_why(root: Path):
    alone = "one training of the group calm-otter; to compare the group: python -m a 'calm otter' vs ANOTHER"
    found = facts.read(root, repository=root, further=Further(alone=alone))
    words = _Parsed(page(found)).words
    assert f"Beside other runs O{alone[1:]}. Training " in words
    assert "To compare with any other run" not in words
    assert "Compared with" not in words


def told(root: Path, **changes: object) -> facts.Facts:
    found = facts.read(root, repository=root)
    return dataclasses.replace(found, **changes)


def shown(root: Path) -> _Parsed:
    return _Parsed(page(told(root)))


def test_the_head_says_what_came_of_the_run_and_how_sure_that_is(root: Path):
    words = shown(root).words

    assert "2 of 4 answers are right 50.0 %, 95 % interval [15.0, 85.0]." in words
    assert "Before fine-tuning 1 of 4 were right, 1 gained and 0 lost." in words
    assert "profile quick · no commit · judged by the built-in reference judge" in words
    assert "right answers 1 → 2 of 4" in words
    assert "mean score of 100, before → after 27.5 → 55.0 [50.0, 60.0]" in words
    assert "difference in points +27.5 [−10.0, +60.0]" in words
    assert "validation loss, nats a token 8.000 → 2.500 kept: step 4" in words
    assert "its scores say that the machine works, not that the model is of use" in words


def test_the_champion_is_called_so_at_the_head(root: Path):
    assert "reference judge · the champion: m version 3" in _Parsed(page(told(root), champion="m version 3")).words
    assert "the champion: " not in shown(root).words


def test_a_judge_that_grades_has_its_score_as_the_title(root: Path):
    tuned = results.model_scores(51.25, scored=4, n=5)
    llama = results.identity(backend="ollama", model="llama3")
    write_metrics(root / JUDGE_METRICS, results.judge_metrics(llama, tuned))
    a_run.lock(root)
    words = shown(root).words

    assert "A score of 51.2 of 100 95 % interval [46.2, 56.2], on 4 answers." in words
    assert "A language model grades each answer beside the reference." in words


def test_the_scores_are_told_before_and_after_with_what_is_in_no_figure(root: Path):
    words = shown(root).words

    assert "right answers, % 25.0 [5.0, 70.0] 50.0 [15.0, 85.0] +25.0 [−20.0, +60.0]" in words
    assert "Of 5 answers of the fine-tuned model: 4 scored, 1 invalid, 0 failed; 1 row with many right answers" in words


def test_what_else_was_said_of_the_answers_stands_below(root: Path):
    median = Mean(n=4, mean=52.5, interval=results.interval(20.0, 85.0))
    panel = {"n": 4, "left_out": 0, "means": {"a": 55.0, "b": 50.0}, "median": median, "alpha": 0.71}
    scores = PanelScores(**panel, alpha_interval=results.interval(0.4, 0.9))
    judges = PanelMetrics(judges=[results.identity(model="b")], names=["a", "b"], tuned=scores)
    pairs = results.pairwise_metrics(0.8333, results.interval(0.5, 0.975), None, results.interval(None, None))
    labels = {"tuned": results.calibrated(55.0, 40.5, results.interval(30.25, 50.75), n=20)}
    calibration = results.calibration_metrics(labels, matched=20)
    a_run.write(root, pairwise=pairs, panel=judges, calibration=calibration)
    a_run.lock(root)
    words = shown(root).words

    assert "side by side with before, % won 83.3 [50.0, 97.5] (2 wins, 1 tie, 0 losses)" in words
    assert "median of 2 judges 52.5 [20.0, 85.0] Krippendorff’s alpha 0.71" in words
    assert "calibrated mean 40.5 [30.2, 50.8] by 20 human labels" in words
    assert "Further judge: b, fingerprint ab12" in words
    assert "Its scores were not set beside human labels" not in words


def test_each_category_has_its_rows_and_an_interval(root: Path):
    words = shown(root).words

    # One right of two instructions: Wilson's interval with Student's t of one degree of freedom, 12.7.
    assert re.search(r"spelling 2 50\.0 \[0\.3, 99\.7\] 1 of 2", words), words
    assert "open 1 open – –" in words


def test_the_faults_are_told_with_the_points_that_they_cost(root: Path):
    words = shown(root).words

    assert "too long 0 2 12.5" in words
    assert "repetitive 2 0 0.0" in words


def test_the_worst_and_the_best_answers_stand_beside_the_reference(root: Path):
    words = shown(root).words
    worst, best = words.split(" Worst Name ", 1)[1].split(" Best Spell: ", 1)

    before, after = "reference Paris. before blah wrong 10", "fine-tuned Rome. wrong 0"
    assert worst.startswith(f"the capital of France. {before} {after}")
    before, after = "reference c-o-l-o-u-r before blah blah wrong 0", "fine-tuned c-o-l-o-u-r right 100"
    assert best.startswith(f"colour {before} {after}")
    assert "the judge: key words · faults: wrong but fluent · facts · r3" in worst


def test_all_answers_are_in_a_table_the_worst_first_with_what_a_script_sorts_by(root: Path):
    rows = shown(root).rows

    assert [(row["data-n"], row["data-v"], row["data-b"], row.get("data-s")) for row in rows] == [
        ("2", "wrong", "10", "0"),
        ("1", "wrong", "0", "20"),
        ("0", "right", "0", "100"),
        ("3", "right", "100", "100"),
        ("4", "open", "0", None),
    ]


def test_the_losses_are_drawn_and_told(root: Path):
    found = shown(root)

    assert "circle" in found.tags
    assert "kept: step 4, 2.500" in found.words
    assert "The validation loss, of 2 evaluations, goes from 8.000 to 2.500" in found.words


def test_a_training_that_ends_within_an_epoch_is_told_by_its_steps(root: Path):
    """1,000 rows in batches of 24 are 41 steps an epoch: 4 steps are 0.0976 epochs."""
    figures = read_metrics(root / FINETUNE_METRICS, FinetuneMetrics, made_by="")
    write_metrics(root / FINETUNE_METRICS, figures.model_copy(update={"rows_train": 1000}))
    a_run.lock(root, finetune={"max_steps": 4})

    assert "training 4 steps (0.0976 epochs), 0 tokens, fp32; " in shown(root).words


def test_shares_of_answers_hide_no_answer_by_rounding(root: Path):
    tuned = results.answer_metrics(end_of_text_rate=0.995, cap_hit_rate=0.005, exact_match=0.41294)
    write_metrics(root / GENERATE_METRICS, GenerateMetrics(base=results.answer_metrics(), tuned=tuned))
    a_run.lock(root)
    words = shown(root).words

    assert "equal to the reference, % 0.0 41.3" in words
    assert "ended by themselves, % 0 99.5 cut at the longest answer, % 0 0.5" in words


def test_the_data_are_told_with_what_the_checks_found(root: Path):
    words = shown(root).words

    assert "1,059 rows: 1,000 to train, 5 to test, and 54 to validate." in words
    assert "warning leaks 3 spelling" in words
    assert "1 check found nothing: emails." in words


def test_the_rows_are_shown_with_what_the_loss_is_over(root: Path):
    row = Encoded(id=EVIL, ids=[ord("i"), ord(">"), ord("<"), END_OF_TEXT], prompt_length=2)
    settings = Tokenize(prompt_style="alpaca", context_length=8, loss_on="response")
    found = _Parsed(page(told(root, labels=list(explained([row], Tokens(), settings)))))

    assert "What the loss is over" in found.words
    assert "4 tokens: 2 masked, 2 trained i > < <|endoftext|>" in found.words
    assert found.tags <= _TAGS
    write_jsonl(root / split_file("train"), [])
    assert "artifacts/download/tokenizer is not there: dvc repro tokenize" in shown(root).words


def test_the_values_that_differ_from_the_commit_are_told_and_given_to_the_command(root: Path):
    commit = committed(root)
    a_run.lock(root, finetune={"learning_rate": 0.002})
    words = shown(root).words

    assert f"value in commit {commit[:7]} in this run finetune.learning_rate 0.005 0.002" in words
    assert f"git checkout {commit} python -m flows.run --set finetune.learning_rate=0.002" in words


def test_without_a_difference_the_command_is_make_run(root: Path):
    commit = committed(root)
    words = shown(root).words

    assert f"Nothing: all values are those of params.yaml in commit {commit[:7]}." in words
    assert f"git checkout {commit} make run" in words
    assert "Not all of it is in the commit" not in words


def committed(root: Path, *files: str) -> str:
    """Commit the folder's params.yaml and these files, and return the commit."""
    for command in (["init", "-q"], ["add", "params.yaml", *files], ["commit", "-qm", "start"]):
        me = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        subprocess.run(["git", *me, *command], cwd=root, check=True)
    return git.ask(root, "rev-parse", "HEAD")


def test_a_file_of_the_run_that_is_not_in_the_commit_is_named(root: Path):
    committed(root)
    (root / "dvc.yaml").write_text("stages: {}\n")

    assert (
        "Not all of it is in the commit. When this page was made, these files differed: dvc.yaml." in shown(root).words
    )


def test_results_of_older_code_lead_to_the_commit_that_has_it_and_not_to_the_last_one(root: Path):
    made_from(root, "1\n")
    older = committed(root, "code.py")
    (root / "code.py").write_text("2\n")
    newer = committed(root, "code.py")
    words = shown(root).words

    assert f"git checkout {older} make run" in words
    assert newer not in words
    assert "the results have the digests below, to the byte" in words


def test_results_of_code_that_is_in_no_commit_have_no_promise(root: Path):
    made_from(root, "1\n")
    (root / "code.py").write_text("2\n")
    committed(root, "code.py")
    words = shown(root).words

    assert "This commit does not give these results. They were made from other code than it has" in words
    assert "looked at: code.py." in words
    assert "to the byte" not in words


def made_from(root: Path, code: str) -> None:
    """Let dvc.lock say that the judge has read this code, and put it there."""
    (root / "code.py").write_text(code)
    tree = a_run.YAML(typ="safe").load(root / "dvc.lock")
    tree["stages"]["judge"]["deps"] = [{"path": "code.py", "md5": digests.md5(root / "code.py")}]
    a_run.YAML().dump(tree, root / "dvc.lock")


def test_the_digests_of_the_results_and_of_the_data_are_told(root: Path):
    words = shown(root).words
    recorded = json.loads(json.dumps(facts.read(root, repository=root).recorded.digests[VERDICTS]))

    assert f"judge {VERDICTS} {recorded}" in words
    assert "data/, MD5 of DVC 0123456789abcdef0123456789abcdef.dir" in words


def test_data_that_is_not_under_the_folder_of_dvc_is_told_by_its_own_digest(root: Path):
    mine = {"source": "../mine.csv", "sha256": "5" * 64, "sources": []}
    a_run.lock(root, download={"data": mine})
    words = shown(root).words

    assert f"data, SHA-256 ../mine.csv {'5' * 64}" in words
    assert "MD5 of DVC" not in words, "that of data/, which the run has not read"


def test_rows_that_were_left_out_are_counted_in_the_section_of_the_data(root: Path):
    assert "left out, which cannot be used" not in shown(root).words
    left = {"count": 12, "rows": []}
    write_json(root / LEFT_OUT, {"rows_of_the_file": 1071, "rows_of_the_dataset": 1059, "left_out": left})

    assert "12 of 1,071 rows were left out, which cannot be used: left_out.json names them." in shown(root).words


def test_each_source_of_a_mix_is_told_by_what_fixes_its_rows(root: Path):
    address = f"hf://datasets/a/b@{'c' * 40}/rows.json"
    sources = [
        {"source": "data/instructions.json", "sha256": None},
        {"source": "/there/mine.csv", "sha256": "6" * 64},
        {"source": address, "sha256": None},
    ]
    a_run.lock(root, download={"data": {"source": "../unused.json", "sha256": "7" * 64, "sources": sources}})
    words = shown(root).words

    assert "data/, MD5 of DVC 0123456789abcdef0123456789abcdef.dir" in words
    assert f"data, SHA-256 /there/mine.csv {'6' * 64} data {address}" in words
    assert f"SHA-256 ../unused.json {'7' * 64}" not in words


def test_the_costs_are_those_of_these_results_and_of_no_others(root: Path):
    own = {"seconds": 12.0, "peak_memory_bytes": 512 << 20}
    write_json(root / STAGE_COSTS / "split.json", {"result": sha256(root / SPLIT_METRICS)} | own)
    write_json(root / STAGE_COSTS / "finetune.json", {"result": "0" * 64} | own)
    words = shown(root).words

    assert "stage time peak memory, MiB split 12 s 512" in words
    assert "Not known here: download, tokenize, finetune, generate, judge." in words
    assert "training, time 1 min 5 s; 1.5 GiB at most" in words


BESIDE = Beside(
    head="a" * 40,
    other="the last commit, aaaaaaa",
    best="",
    n=190,
    mean=55.0,
    mean_there=50.0,
    difference=5.0,
    low=-2.5,
    high=12.5,
    detectable=10.5,
    verdict="no detectable difference",
    rests_on="one training each: training seeds are not allowed for",
    same_judge=True,
)


def test_the_comparison_has_its_verdict_its_interval_and_what_it_rests_on(root: Path):
    found = BESIDE
    further = found.model_copy(
        update={"other": "the last run of this recipe, calm-otter", "verdict": "higher than there"}
    )
    missing = "not compared with the champion, quick 3: MLflow does not answer"
    others = Further(found=[further], missing=[missing])
    words = _Parsed(page(told(root, compared=Told(found=found), further=others))).words

    assert "Higher than there. Compared with the last run of this recipe, calm-otter." in words
    assert "No detectable difference. Compared with the last commit, aaaaaaa." in words
    assert "difference in points, here minus there +5.0 [−2.5, +12.5]" in words
    assert "smallest true difference that would be found about 3 times in 4 10.5 points" in words
    assert "one training each: training seeds are not allowed for" in words
    assert "Not compared with the champion, quick 3: MLflow does not answer." in words


def test_the_last_commit_with_the_same_scores_comes_before_the_best_run(root: Path):
    better = {"mean": 47.2, "mean_there": 0.0, "difference": 47.2, "low": 37.7, "high": 57.2}
    best = BESIDE.model_copy(
        update={"other": "the best other run, wise-moth", "best": "1a2b", "verdict": "higher than there", **better}
    )
    same = "the same scores as the last commit, aaaaaaa"
    words = _Parsed(page(told(root, compared=Told(same, best, same=True)))).words

    assert f"compared {same}" in words
    assert "beside the best other run" not in words, "at the head"
    section = (
        "The same scores as the last commit, aaaaaaa. Higher than there. Compared with the best other run, wise-moth."
    )
    assert section in words


def test_a_judge_that_cannot_be_believed_is_a_warning_at_the_head(root: Path):
    test = results.passed(refused="it gives every answer 50 points", cannot_tell=True, right_above_near=0.5)
    tuned = results.model_scores(50.0, scored=5, n=5)
    found = results.judge_metrics(results.identity(), tuned).model_copy(update={"self_test": test})
    write_metrics(root / JUDGE_METRICS, found)
    a_run.lock(root)
    words = shown(root).words

    assert "Warning. The judge did not pass its self-test: it gives every answer 50 points" in words
    assert "Warning. This judge cannot tell right from wrong: of pairs with a near miss 50 % are in order." in words


def test_a_score_of_few_rows_is_a_warning_at_the_head_and_in_the_summary(root: Path):
    said = "score of so few test rows says little: it has no interval, and of other rows it could be any other"
    tuned = results.model_scores(50.0, scored=5, n=5)
    assert not [line for line in score_lines(results.judge_metrics(results.identity(), tuned), []) if said in line]
    found = results.judge_metrics(
        results.identity(), tuned.model_copy(update={"interval": results.interval(None, None)})
    )
    write_metrics(root / JUDGE_METRICS, found)
    a_run.lock(root)

    assert f"Warning. A {said}." in shown(root).words
    assert score_lines(found, [])[1] == f"WARNING    a {said}"


def test_the_card_of_this_judge_says_how_far_it_agrees_with_grades_by_hand(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(root)
    assert "beside answers graded by hand not measured here: make judge-check" in shown(root).words
    held_out = {"pearson": 0.84, "auc": 0.9714, "answers": 78}
    own = results.identity().model_dump() | {"fingerprint": "of other rows", "train_rows": "others"}
    write_json(facts.CARD, {"judge": own, "held_out": held_out})
    assert "beside answers graded by hand r 0.84, AUC 0.971, on 78 answers" in shown(root).words
    write_json(facts.CARD, {"judge": own | {"measure": "another"}, "held_out": held_out})
    assert "not measured here" in shown(root).words


def test_files_of_another_run_are_not_shown_as_this_one_s(root: Path):
    locked = (root / "dvc.lock").read_text()
    a_run.write(root, a_run.ROWS[:3])
    (root / "dvc.lock").write_text(locked)

    assert "is not what dvc.lock records; dvc repro judge makes it again" in shown(root).words


def test_what_a_newer_stage_has_made_stale_is_not_shown(root: Path):
    tree = a_run.YAML(typ="safe").load(root / "dvc.lock")
    tree["stages"]["judge"]["deps"] = [{"path": str(HISTORY), "md5": "0" * 32}]
    a_run.YAML().dump(tree, root / "dvc.lock")
    words = shown(root).words

    assert "A run without scores" in words
    assert "They are of an earlier finetune than the one here: dvc repro judge" in words
    assert "2 of 4" not in words


@pytest.mark.parametrize("gone", [FINETUNE_METRICS, HISTORY, SPLIT_METRICS, VERDICTS, JUDGE_METRICS])
def test_a_file_that_is_missing_is_named_and_the_rest_is_told(root: Path, gone: Path):
    (root / gone).unlink()

    assert f"{gone} is not there: dvc repro {gone.parts[1]}" in shown(root).words


def test_a_file_that_is_broken_is_named_with_what_mends_it(root: Path):
    (root / HISTORY).write_text("{")
    a_run.lock(root)

    assert "to fix it: dvc repro finetune" in shown(root).words


def evil(root: Path) -> None:
    """The run once more, with every text of a row an attack."""
    rows = [(f"r{EVIL}{number}", EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, 0.0, 50.0, False) for number in range(3)]
    judge = results.identity(model=EVIL, backend=EVIL)
    a_run.write(root, rows, judge=judge)
    a_run.lock(root, finetune={"learning_rate": EVIL})


def test_no_text_of_a_run_can_do_anything_in_the_page_and_it_asks_for_nothing(root: Path):
    evil(root)
    made = page(told(root))
    found = _Parsed(made)

    assert found.tags <= _TAGS
    assert made.count("<script") == made.count("</script") == 1
    assert not {name for name, _ in found.attributes} & _ASKING
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert [value for name, value in found.attributes if name == "href" and not (value or "").startswith("#")] == []
    assert "http://" not in made
    assert "https://" not in made
    assert "url(" not in made
    assert "@import" not in made
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", made)
    assert "<script>alert(1)</script><img src=x onerror=\"alert('2')\">&amp;\\x1b[2J\\u202eevil\\x00" in found.words


def test_every_anchor_of_the_contents_is_there_once(root: Path):
    found = shown(root)
    anchors = [value[1:] for name, value in found.attributes if name == "href" and value]

    assert len(anchors) == 13
    assert set(anchors) <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))


def test_the_same_results_give_the_same_bytes(root: Path):
    assert page(told(root)) == page(told(root))


@pytest.mark.thorough
def test_with_thousands_of_long_answers_the_page_stays_small_and_says_what_is_cut(root: Path):
    long = "word " * 400
    texts = (long, long, long, long, long)
    a_run.write(root, [(f"r{n}", f"kind {n % 300}", *texts, 0.0, float(n % 100), False) for n in range(5000)])
    a_run.lock(root)
    made = page(told(root))
    found = _Parsed(made)

    assert len(made.encode()) < MOST == 2_000_000
    assert re.search(r"Texts of more than \d+ characters are cut\.", found.words)
    assert "artifacts/generate/responses.jsonl and artifacts/judge/verdicts.jsonl have all." in found.words
    assert "And 240 more, which are in artifacts/judge/metrics.json." in found.words
    assert len(found.rows) > 2500


@pytest.mark.thorough
def test_rows_that_do_not_fit_are_left_out_the_worst_staying(root: Path):
    quotes = "'" * 3000
    given = [(f"r{n}", "k", quotes, quotes, quotes, quotes, quotes, 0.0, float(n % 100), False) for n in range(5000)]
    a_run.write(root, given)
    a_run.lock(root)
    made = page(told(root))
    found = _Parsed(made)

    assert 1_900_000 < len(made.encode()) < MOST
    assert re.search(r"The [\d,]+ worst of 5,000 rows: more would make this page too large\.", found.words)
    assert found.rows[0]["data-s"] == "0"


@pytest.mark.parametrize("rows", [[], [("r", "k", "q", "", "a", "", "", 0.0, None, None)]])
def test_a_run_without_a_row_or_without_a_score_has_a_page(root: Path, rows: list[a_run.Given]):
    if rows:
        a_run.write(root, rows)
    else:
        for path in (root / "artifacts").rglob("*.jsonl"):
            path.write_text("")
    a_run.lock(root)

    assert "All answers" in shown(root).words


def program(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, "-m", "flows.report", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.thorough
def test_the_program_writes_the_page_and_says_where_it_is(root: Path):
    done = program(root)

    assert done.returncode == 0, done.stderr
    assert re.match(r"report: artifacts/report\.html \(\d+ KiB\); in a browser: file:///", done.stdout)
    assert (root / "artifacts" / "report.html").read_text() == page(told(root), f"results {mark(root)}")


def mark(root: Path) -> str:
    found = re.search(r'name="about" content="results ([0-9a-f]{64})"', (root / "artifacts/report.html").read_text())
    assert found is not None
    return found[1]


@pytest.mark.thorough
def test_the_report_of_a_folder_goes_to_a_file_of_its_own(root: Path, tmp_path_factory: pytest.TempPathFactory):
    here = tmp_path_factory.mktemp("here")
    shutil.copy(ROOT / "params.yaml", here)
    done = program(here, str(root), "--to", "one.html")

    assert done.returncode == 0, done.stderr
    assert "2 of 4 answers are right" in (here / "one.html").read_text()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "told_of", "code"),
    [
        (["no-such-run"], "no-such-run: no such folder", 78),
        (["a", "b"], "unexpected: b", 78),
        (["--to", "artifacts"], "artifacts: expected a file, found a folder", 78),
        (["--to", "gone/report.html"], "gone: no such folder", 78),
    ],
)
def test_what_is_no_run_is_one_message(root: Path, arguments: list[str], told_of: str, code: int):
    done = program(root, *arguments, MLFLOW_TRACKING_URI=f"sqlite:///{root}/none.db")

    assert done.returncode == code
    assert told_of in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.thorough
def test_without_scores_the_program_says_how_to_get_them_and_leaves_an_old_page(root: Path):
    (root / "artifacts" / "report.html").write_text("old")
    (root / VERDICTS).unlink()
    done = program(root)

    assert done.returncode == 78
    assert "artifacts/judge/verdicts.jsonl: no such file" in done.stderr
    assert (root / "artifacts" / "report.html").read_text() == "old"
