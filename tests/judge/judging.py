"""Judging in tests."""

from stages.judge.judges.protocol import Question
from stages.judge.panel import SILENT, Asking, judge_each
from stages.params.judge import Judge

QUESTION = Question("row-1", "tuned", "Name the author.", "", "Jane Austen.", "Jane Austin.")


def settings(**changes):
    """The section judge of params.yaml with these changes."""
    values = {
        "mode": "score",
        "backend": "ollama",
        "model": "llama3",
        "digest": None,
        "rubric": "graded-v1",
        "temperature": 0.0,
        "seed": 123,
        "num_ctx": 2048,
        "num_predict": 64,
        "think": False,
        "repeats": 1,
        "expected_value": False,
        "exact_match": "ask",
        "min_separation": 40.0,
        "on_refusal": "stop",
        "deadline_seconds": 300.0,
        "retries": 2,
        "parallel": 1,
        "max_invalid": 0.02,
        "bootstrap_resamples": 100,
        "calibration": None,
        "panel": [],
    }
    return Judge.model_validate(values | changes)


def judge_all(judge, questions, *, progress=SILENT, **asking):
    """Every verdict of `judge_each`; ``asking`` are the fields of `Asking`."""
    return list(judge_each(judge, questions, Asking(**asking), progress))


class Told:
    """A progress that keeps what it is told.

    Args:
        on_made: called with the number of judgements that have just come.
    """

    def __init__(self, on_made=lambda _: None):
        self.started, self.known_counts, self.made_counts = [], [], []
        self.on_made = on_made

    def start(self, total):
        self.started.append(total)

    def known(self, count):
        self.known_counts.append(count)

    def made(self, count):
        self.made_counts.append(count)
        self.on_made(count)
