"""judge: a score from 0 to 100 for every answer to the test prompts, and their summary.

Reads artifacts/generate/responses.jsonl and artifacts/split/test.jsonl; for the test rows that occur in train,
artifacts/split/metrics.json; for the spelling, the train rows' words and GPT-2's vocabulary. The judge itself is tried
first. Writes artifacts/judge: a verdict an answer, the statistics, the scores of each row as CSV for `dvc plots`, and a
picture. Every answer ends as scored, invalid or failed; with more of the last two than params.yaml allows, all is
written first and the stage fails then. In pairwise mode the two models' answers are also compared, row by row, under
the same rule; pairwise.jsonl is a blank line otherwise.
"""

from __future__ import annotations

from stages.judge import job
from stages.params.judge import Judge
from stages.running import program


def main() -> None:
    """Run the stage."""
    job.judge_answers(program.section(Judge))


if __name__ == "__main__":
    program.run("judge", main)
