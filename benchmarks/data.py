"""From rows to tokens: how fast, beside tiktoken's own batch call and `datasets.map`, and in how much memory.

`python -m benchmarks.data --rows 1100,52002` makes rows with the lengths of Alpaca's, runs the stages download, split
and tokenize on them, each in a process of its own, and measures seconds and peak memory. Then each contender makes the
token ids of the train rows, again in a process of its own, one after the other, `--repeats` times.

Ours has limits: it ends with exit code 1 if a stage takes more than `MOST_MEMORY`, or if ours is slower than
`LEAST_SPEED` of tiktoken in the median of the repeats.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import alpaca_like, child
from benchmarks.arguments import at_least, names_of
from benchmarks.report import head, line
from stages.common.errors import PipelineError
from stages.common.files import write_json
from stages.params import reading
from stages.running.arguments import Parser

STAGES = ("download", "split", "tokenize")
PEERS = ("tiktoken", "datasets")
SEED = 17
#: The most memory of a stage, in bytes, and the least speed of ours as a part of tiktoken's, with this many rows or
#: more: fewer take a fraction of a second, in which chance decides.
MOST_MEMORY = 1 << 30
LEAST_SPEED = 0.9
LEAST_ROWS = 10_000


@dataclass(frozen=True)
class StageRun:
    """A run of a stage: its seconds from start to end, and its most resident memory in bytes."""

    stage: str
    seconds: float
    peak_bytes: int


@dataclass
class Measured:
    """What was measured with a number of rows.

    Args:
        rows: the number of rows.
        stages: the stages that ran.
        checks_seconds: seconds of the checks of the rows alone.
        tokens: tokens of the train rows, without ends of text.
        tokens_per_second: speeds of each contender, one for each repeat.
        left_out: the reason for each peer that could not be measured.
    """

    rows: int
    stages: list[StageRun] = field(default_factory=list)
    checks_seconds: float = 0.0
    tokens: int = 0
    tokens_per_second: dict[str, list[float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def ratios(self, peer: str) -> list[float]:
        """Ours as a part of a peer's speed, repeat by repeat; above 1 is in our favour."""
        pairs = zip(self.tokens_per_second["ours"], self.tokens_per_second.get(peer, ()), strict=False)
        return [ours / theirs for ours, theirs in pairs]


def prepare(folder: Path, rows: int) -> None:
    """Make a folder in which the stages run: params.yaml, and the rows under data/."""
    (folder / "data").mkdir(parents=True)
    path = folder / "data" / "rows.jsonl"
    with open(path, "w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in alpaca_like.rows(rows, SEED))
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    tree = reading.read_values(child.ROOT / "params.yaml")
    tree["download"]["data"] |= {"source": "data/rows.jsonl", "sha256": digest}
    (folder / "params.yaml").write_text(json.dumps(tree), encoding="utf-8")


def run_stage(stage: str, folder: Path) -> StageRun:
    """Run a stage to its end.

    Raises:
        ChildFailed: it failed.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", f"stages.{stage}"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(child.ROOT)},
            stdout=said,
            stderr=said,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # or Python takes it to be running
        if process.returncode:
            said.seek(0)
            raise child.ChildFailed(f"stages.{stage}", process.returncode, [line.rstrip() for line in said])
    return StageRun(stage, time.perf_counter() - started, usage.ru_maxrss * 1024)


def contend(contender: str, folder: Path) -> tuple[int, float]:
    """Tokens, or rows, and seconds of a contender."""
    out = folder / "measured.json"
    child.start("benchmarks.tokenizing", contender, str(folder), str(out))
    found = json.loads(out.read_text(encoding="utf-8"))
    return found["count"], found["seconds"]


def measure(rows: int, folder: Path, peers: Sequence[str], repeats: int) -> Measured:
    """Measure all with a number of rows.

    Raises:
        PipelineError: a contender makes another number of tokens than ours.
    """
    prepare(folder, rows)
    found = Measured(rows, [run_stage(stage, folder) for stage in STAGES])
    found.checks_seconds = contend("checks", folder)[1]
    there = [peer for peer in peers if importlib.util.find_spec(peer) is not None]
    found.left_out = {peer: "not installed" for peer in peers if peer not in there}
    for _ in range(repeats):
        for contender in ("ours", *there):
            tokens, seconds = contend(contender, folder)
            found.tokens = found.tokens or tokens
            if tokens != found.tokens:
                raise PipelineError(f"{contender}: expected {found.tokens:,} tokens, as ours; found {tokens:,}")
            found.tokens_per_second.setdefault(contender, []).append(tokens / seconds)
    return found


def told(found: Measured) -> list[str]:
    """The lines about one number of rows."""
    lines = [f"{found.rows:,} rows, {found.tokens:,} tokens of train rows", ""]
    lines += head("stage", "s", "peak memory, MiB")
    lines += [line(one.stage, f"{one.seconds:.1f}", f"{one.peak_bytes / 2**20:.0f}") for one in found.stages]
    total = sum(one.seconds for one in found.stages)
    lines += [line("all three", f"{total:.1f}", ""), line("of it the checks", f"{found.checks_seconds:.1f}", ""), ""]
    lines += head("contender", "million tokens/s", "ours against")
    for name, speeds in found.tokens_per_second.items():
        against = "" if name == "ours" else spread(found.ratios(name))
        lines.append(line(name, spread([speed / 1e6 for speed in speeds]), against))
    lines += [line(name, reason, "") for name, reason in found.left_out.items()]
    return [*lines, ""]


def spread(values: Sequence[float]) -> str:
    """The median, and the smallest and the largest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def beyond_limits(found: Measured) -> list[str]:
    """What is beyond our limits, in words."""
    wrong = [
        f"{found.rows:,} rows: {one.stage}: expected {MOST_MEMORY / 2**20:.0f} MiB at most; found "
        f"{one.peak_bytes / 2**20:.0f}"
        for one in found.stages
        if one.peak_bytes > MOST_MEMORY
    ]
    ratios = found.ratios("tiktoken")
    if ratios and found.rows >= LEAST_ROWS and (middle := statistics.median(ratios)) < LEAST_SPEED:
        wrong.append(f"{found.rows:,} rows: expected {LEAST_SPEED} of tiktoken's speed or more; found {middle:.2f}")
    return wrong


def main() -> None:
    """Measure, and print what was measured."""
    parser = Parser(prog="python -m benchmarks.data", description=__doc__)
    parser.add_argument("--rows", default="1100,52002", help="numbers of rows, such as 1100,52002,1000000")
    parser.add_argument("--repeats", type=at_least(1), default=3, help="times that each contender runs")
    parser.add_argument("--peers", type=names_of(PEERS), default=list(PEERS), help=f"any of {', '.join(PEERS)}")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    sizes = [at_least(3)(part) for part in given.rows.split(",")]
    found = []
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(rows, Path(folder) / "project", given.peers, given.repeats))
        print("\n".join(told(found[-1])), flush=True)
    if given.json:
        write_json(given.json, [asdict(one) for one in found])
    if wrong := [text for one in found for text in beyond_limits(one)]:
        raise PipelineError("\n".join(wrong))


if __name__ == "__main__":
    child.run(main)
