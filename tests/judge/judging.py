"""Judging in tests."""

from stages.judge.panel import judge_each


def judge_all(judge, questions, **options):
    """Every verdict of `judge_each`."""
    return list(judge_each(judge, questions, **options))


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
