"""The arithmetic of the benchmark of what a flow adds to its stages."""

from __future__ import annotations

from benchmarks import overhead
from benchmarks.overhead import STAGES, Measured

BARE = {"download": 3.0, "split": 2.0, "tokenize": 1.0, "finetune": 6.0, "generate": 4.0, "judge": 4.0}
FOUND = Measured(
    flow=[34.0, 30.0, 33.0],
    tasks={stage: [seconds + 1.0] * 3 for stage, seconds in BARE.items()},
    bare={stage: [seconds, seconds, seconds + 0.5] for stage, seconds in BARE.items()},
)


def test_a_flow_adds_what_it_takes_more_than_the_stages_of_the_same_repeat():
    assert FOUND.added == [14.0, 10.0, 10.0]


def test_what_is_told():
    assert overhead.told(FOUND, 2, 0.5) == [
        "2 processors, load 0.5 at the end; a training of 5 steps",
        "",
        "| stage | bare, s | task of the flow, s |",
        "|---|---|---|",
        "| download | 3.0 (3.0 to 3.5) | 4.0 (4.0 to 4.0) |",
        "| split | 2.0 (2.0 to 2.5) | 3.0 (3.0 to 3.0) |",
        "| tokenize | 1.0 (1.0 to 1.5) | 2.0 (2.0 to 2.0) |",
        "| finetune | 6.0 (6.0 to 6.5) | 7.0 (7.0 to 7.0) |",
        "| generate | 4.0 (4.0 to 4.5) | 5.0 (5.0 to 5.0) |",
        "| judge | 4.0 (4.0 to 4.5) | 5.0 (5.0 to 5.0) |",
        "| all six | 20.0 (20.0 to 23.0) |  |",
        "| the whole flow |  | 33.0 (30.0 to 34.0) |",
        "",
        "The flow adds 10.0 (10.0 to 14.0) s",
    ]


def test_the_line_of_a_task_that_ran_is_found():
    said = "07:04:43.130 | INFO    | Task run 'download' - Finished in state Completed('ran in 3.4 s')"
    assert overhead.TASK.findall(said) == [("download", "3.4")]
    assert overhead.TASK.findall("Task run 'split' - Finished in state Cached('up to date')") == []
    assert list(BARE) == list(STAGES)
