"""judge: a score from 0 to 100 for every answer to the test prompts, and their summary.

Reads artifacts/generate/responses.jsonl and artifacts/split/test.jsonl. Duplicates of train rows come from
artifacts/split/metrics.json, known words from the train rows and GPT-2's vocabulary. Writes artifacts/judge: the
verdicts, their statistics, the scores of each row as CSV for `dvc plots`, and a picture.

The judge itself is tested first. Every answer ends as scored, invalid or failed. If more are invalid or failed than
params.yaml allows, the stage fails after everything is written. In pairwise mode the two models' answers are also
compared, row by row, under the same rule. In the mode score, pairwise.jsonl is a blank line.
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
