"""What stages take from behind the wall: nothing that comes from there may end in a result.

A stage may tell what it likes (`say(...)` gives nothing back) and may name types in annotations. Every other use of a
name from stages/running/ or stages/finetune/costs/ is on a list here, with the reason why no output depends on it.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.running.code_of import NO_INFLUENCE, code_of
from tests.root import ROOT

STAGES = ("download", "split", "tokenize", "finetune", "generate", "judge")
BEHIND = tuple(folder.rstrip("/").replace("/", ".") for folder in NO_INFLUENCE)

#: Names from behind the wall whose value a stage uses, and why that changes no output. A module's name stands for all
#: that is in it.
USES = {
    # How a stage runs.
    "stages.running.program.section": "the stage's own section, as stages.params reads it",
    "stages.running.gpu.lease": "which GPUs the stage may use; that device is in the run's key",
    "stages.running.loading.without_collector": "how soon libraries load",
    "stages.running.environment.worker": "the rank and size of the process group; its arithmetic is in the run's key",
    "stages.running.environment.seconds": "how often checkpoints are written, and how long a process may take to end",
    "stages.running.signals.Interrupted": "ends the stage, which then writes no output",
    "stages.running.signals.DeferredInterruption": "ends the training after a step, with a checkpoint",
    "stages.running.signals.deferred_interruption": "ends the training after a step, with a checkpoint",
    # The name under which unfinished work is kept. What it depends on decides what is computed again.
    "stages.running.run_key.run_key": "the name of checkpoints and journals, which are no outputs",
    "stages.running.code_of.code_behind": "a part of that name",
    "stages.running.code_of.code_of": "a part of that name",
    "stages.running.measured.once": "whether auto is bf16 or fp32 here; the dtype is in the run's key and the metrics",
    # What is told.
    "stages.running.console.say": "handed on to what tells; it gives nothing back",
    "stages.running.console.progress": "a progress bar",
    "stages.running.counting": "hands on the rows that it is given, and tells how far they are",
    "stages.running.console.Forecast": "a line that estimates the rest",
    "stages.running.answer_progress": "lines and a bar on the answers so far",
    "stages.running.out_of_memory": "the message of a stage that fails",
    "stages.running.console.duration": "a duration in a message",
    "stages.running.console.size": "a size in a message",
    "stages.running.console.time_left": "a time in a line of progress",
    "stages.running.hub_client.client": "how files are fetched, whose digests are compared",
    "stages.running.proxies.proxy_for": "the proxy that a message names",
    "stages.running.summary.tell": "called at the end, and gives nothing back",
    "stages.running.summary_parts.training.cost_lines": "what is printed at the end",
    "stages.running.tracking.tracker.stage": "the stage's run in MLflow, which takes values and gives none",
    "stages.running.tracking.metric_names": "what MLflow is given",
    # What becomes of unfinished work, and whether a result counts.
    "stages.running.held.changed": "whether checkpoints and journals stay, where the stage is going to fail",
    "stages.running.dvc_cache.copy_of": "the room that DVC's copy takes: without it, the stage ends before it works",
    "stages.running.dvc_cache.shortage": "whether a checkpoint stays after the last step",
    "stages.running.temporary.folder": "a folder for files that are gone at the end",
    "stages.running.bookkeeping.optional": "an error of a file that is no output becomes a line",
    # What it costs.
    "stages.running.costs": "the figures of time and money, in files that are no outputs",
    "stages.finetune.costs.clock": "the time that steps take",
    "stages.finetune.costs.ledger.Ledger": "the figures of a training's costs",
    "stages.finetune.costs.work.plan": "the operations that a training takes, for the rest of its time",
    "stages.finetune.costs.memory": "whether the memory suffices: if not, the stage ends without an output",
    "stages.finetune.costs.disk": "whether the disk suffices, also for checkpoints between the first and the last step",
}


def uses(source: str) -> Iterator[str]:
    """The names from behind the wall whose value a module uses, as dotted names; one use may be given often."""
    tree = ast.parse(source)
    bound = dict(_imported(tree))
    parents = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name) or node.id not in bound:
            continue
        name, top = bound[node.id], node
        while isinstance(parent := parents[top], ast.Attribute):
            name, top = f"{name}.{parent.attr}", parent
        if _behind(name) and not _is_bare_call(top, parents) and not _is_annotation(top, parents):
            yield name


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(name in the module, dotted name of what it is) for all imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (first, first)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import, whose name is not known here"
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _behind(name: str) -> bool:
    return any(_within(name, folder) for folder in BEHIND)


def _within(name: str, outer: str) -> bool:
    return name == outer or name.startswith(f"{outer}.")


def _is_bare_call(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Whether it is called in a statement of its own, which drops the value."""
    call = parents[node]
    return isinstance(call, ast.Call) and call.func is node and isinstance(parents[call], ast.Expr)


def _is_annotation(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    while node in parents:
        parent = parents[node]
        if node is getattr(parent, "annotation", None) or node is getattr(parent, "returns", None):
            return True
        node = parent
    return False


def test_uses_worked_by_hand():
    source = """\
import stages.running.gpu
from stages import running
from stages.finetune.costs import memory
from stages.running.console import progress, say as tell
from stages.running.costs import TrainingCosts
from stages.common.files import sha256

def main(costs: TrainingCosts | None, other: list[TrainingCosts]) -> TrainingCosts:
    kept: TrainingCosts = costs
    tell(sha256("x"))
    tell(str(memory.available()))
    running.program.run("x", main)
    if memory.Demand.of(kept).fits:
        return progress
    job(say=tell, rate=stages.running.gpu.lease())
"""

    assert sorted(uses(source)) == [
        "stages.finetune.costs.memory.Demand.of",
        "stages.finetune.costs.memory.available",
        "stages.running.console.progress",
        "stages.running.console.say",
        "stages.running.gpu.lease",
    ]


@functools.cache
def all_uses() -> dict[str, set[str]]:
    """The files in which each name is used, over the code of all stages."""
    found: dict[str, set[str]] = {}
    for path in sorted({path for stage in STAGES for path in code_of(stage) if path.suffix == ".py"}):
        for name in uses(path.read_text(encoding="utf-8")):
            found.setdefault(name, set()).add(_shown(path))
    return found


def _shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_a_stage_uses_no_other_value_from_behind_the_wall():
    """A new use needs a line in `USES` that says why no output depends on it, or the code goes elsewhere."""
    others = {name: files for name, files in all_uses().items() if not any(_within(name, used) for used in USES)}

    assert others == {}


@pytest.mark.parametrize("used", USES)
def test_each_reason_is_still_needed(used):
    assert any(_within(name, used) for name in all_uses())
