"""What is told of answers: their progress, and a line about them."""

from __future__ import annotations

import pytest

from stages.common.metrics.generate import AnswerMetrics
from stages.running import answer_progress, console


def test_the_speed_counts_from_where_this_run_began(capsys):
    now = 1000.0
    with answer_progress.AnswerProgress("tuned", 200, 100, lambda: now) as progress:
        for _ in range(9):
            now += 3.0
            progress.answered(6)
            assert progress.speed == "2 tokens/s"
        assert capsys.readouterr().out == ""
        now += 4.0
        progress.answered(6)
        assert capsys.readouterr().out == "tuned model: 110 of 200 rows, 2 tokens/s, 4 min 39 s left\n"
        for _ in range(89):
            progress.answered(6)
        now += 31.0
        progress.answered(6)
        assert capsys.readouterr().out.endswith("200 of 200 rows, 10 tokens/s\n")


def test_a_bar_that_goes_on_knows_what_was_there():
    with console.progress(total=10, unit="row", what="x", done=4) as bar:
        assert bar.n == 4


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (0, ""),
        (7, "base model: going on after 7 answers of a run that was stopped\n"),
        (20, "base model: all 20 answers are there from an earlier run\n"),
    ],
)
def test_answers_of_an_earlier_run_are_told(kept, expected, capsys):
    answer_progress.say_kept("base", kept, 20)

    assert capsys.readouterr().out == expected


def metrics(**changes) -> AnswerMetrics:
    counts = {"rows": 4, "tokens": 1400, "end_of_text": 3, "max_new_tokens": 0, "context": 1, "empty": 0, "no_room": 0}
    means = ("exact_match", "token_f1", "chrf", "template_leaks", "length_ratio", "end_of_text_rate", "cap_hit_rate")
    return AnswerMetrics(**counts | dict.fromkeys(means, 0.5) | changes)


def test_a_model_s_answers_are_described_in_one_line():
    assert answer_progress.describe(metrics()) == "4 answers, 1,400 tokens, ended by end_of_text 3, context 1"
    assert answer_progress.describe(metrics(no_room=1)).endswith("; 1 prompt leaves no room for an answer")
    assert answer_progress.describe(metrics(no_room=2)).endswith("; 2 prompts leave no room for an answer")
    effect = metrics().with_bf16_effect(compared=32, changed=0.25)
    assert answer_progress.describe(effect).endswith("; bf16 changes 25% of the first 32 answers")
