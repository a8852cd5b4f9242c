"""Faults that would make a record wrong: what is edited during a run, and a DVC that is killed under its stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.faults import checks
from tests.faults.clones import Clone, Life, Templates, expect
from tests.faults.table import Bench, Fault
from tests.faults.truth import wrong_files
from tests.flow_project import gone, wait_until
from tests.unshared import seconds_until_gone

#: What the middle of a training prints.
MIDDLE = "step 20/"
OTHER_RATE: dict[str, Any] = {"finetune": {"learning_rate": 0.0001}}
RATE: dict[str, Any] = {"finetune": {"learning_rate": 0.005}}
OTHER_JUDGE: dict[str, Any] = {"judge": {"bootstrap_resamples": 101}}
CHANGED = "finetune.learning_rate was 0.005 when the stage began, and is 0.0001 now"
#: Exit codes of doors where a stage ends with 75.
INTERRUPTED = {"flow": 75, "make": 2, "dvc": 255, "isolated": 75}


def complete(clone: Clone, life: Life) -> None:
    """Hold that a door came to its good end, and that lock, files and params.yaml agree.

    Raises:
        Wrong: they do not.
    """
    life.ends_with(0)
    found = wrong_files(clone)
    expect(not found, "; ".join(found))


def _a_value(door: str) -> Callable[[Bench, Clone], str]:
    def inject(bench: Bench, clone: Clone) -> str:
        first = clone.door(door).at(MIDDLE)
        clone.edit(OTHER_RATE)
        first.ends_with(INTERRUPTED[door], CHANGED)
        expect("finetune" not in clone.lock(), "dvc.lock has the training")
        clone.edit(RATE)
        second = clone.door(door)
        complete(clone, second)
        expect("going on from" in second.said, "put back, it trained from scratch")
        expect(MIDDLE not in second.said, "put back, it trained again")
        return "75, the value is named, nothing is recorded; put back, the training is taken from its checkpoint"

    return inject


def _a_value_that_stays(bench: Bench, clone: Clone) -> str:
    bench.learn(OTHER_RATE)
    first = clone.door("flow").at(MIDDLE)
    clone.edit(OTHER_RATE)
    first.ends_with(75, CHANGED)
    second = clone.door("flow")
    complete(clone, second)
    expect(MIDDLE in second.said, "it did not train with the new value")
    return "75, then trained with the new value, to the bytes of an undisturbed run with it"


def _another_commit(door: str) -> Callable[[Bench, Clone], str]:
    def inject(bench: Bench, clone: Clone) -> str:
        _commit_another(clone)
        first = clone.door(door).at(MIDDLE)
        clone.git("checkout", "-q", "other")
        first.ends_with(INTERRUPTED[door], CHANGED, "stages/finetune/loss.py has changed since the stage began")
        expect("finetune" not in clone.lock(), "dvc.lock has the training")
        clone.git("checkout", "-q", "main")
        second = clone.door(door)
        complete(clone, second)
        expect("going on from" in second.said, "back on its commit, it trained from scratch")
        return "75, value and file are named, nothing is recorded; back on the commit, it goes on from its checkpoint"

    return inject


def _commit_another(clone: Clone) -> None:
    clone.git("checkout", "-q", "-b", "other")
    with open(clone.root / "stages" / "finetune" / "loss.py", "a", encoding="utf-8") as stream:
        stream.write("\n# Another commit.\n")
    clone.edit(OTHER_RATE)
    clone.git("commit", "-q", "-a", "-m", "another")
    clone.git("checkout", "-q", "main")


def _beside_an_isolated_run(bench: Bench, clone: Clone) -> str:
    _commit_another(clone)
    life = clone.door("isolated").at("Running stage 'finetune'")
    clone.edit(OTHER_RATE)
    life.at(MIDDLE)
    clone.git("checkout", "-q", "--force", "other")
    life.ends_with(0)
    clone.git("checkout", "-q", "main")
    return "nothing of the run changes; its records are those of its own commit and values"


def _a_value_of_the_judge(door: str) -> Callable[[Bench, Clone], str]:
    def inject(bench: Bench, clone: Clone) -> str:
        bench.learn(OTHER_JUDGE)
        first = clone.door(door).at(MIDDLE)
        clone.edit(OTHER_JUDGE)
        told = "judge.bootstrap_resamples was 100 when the run began, and is 101 now"
        first.ends_with(INTERRUPTED[door], told)
        expect("judge" not in clone.lock(), "dvc.lock has the judge")
        second = clone.door(door)
        complete(clone, second)
        expect("finetune" not in second.ran, "it trained again")
        found = [(run.info.status, run.data.params["judge.bootstrap_resamples"]) for run in checks.tracked(clone.root)]
        found = found[-2:]
        expect(found == [("FAILED", "100"), ("FINISHED", "101")], f"MLflow has {found}")
        metrics = json.loads((clone.root / "artifacts" / "judge" / "metrics.json").read_text())
        scored = checks.tracked(clone.root)[-1].data.metrics["score/mean"]
        expect(scored == metrics["tuned"]["mean"], f"MLflow has the score {scored}")
        return "75 before the judge; MLflow: FAILED with the first value, then FINISHED with the second and its score"

    return inject


def _dvc_is_killed(bench: Bench, clone: Clone) -> str:
    first = clone.door("dvc").at(MIDDLE)
    stage = first.find("stage")
    assert stage is not None
    first.kill("dvc")
    first.end()
    second = clone.door("dvc")
    seconds, unshared = seconds_until_gone(stage, limit=checks.LEFT_SECONDS)
    expect(unshared < 1, f"the stage went on for {seconds:.1f} s, {unshared:.1f} s without the time of other processes")
    if second.end():  # it was refused by what the first still held
        second = clone.door("dvc")
    complete(clone, second)
    expect("going on from" in second.said, "it trained from scratch")
    return f"the stage saves its work and is gone {seconds:.1f} s later; a run started at once has its own files"


def _a_value_of_a_stage_that_is_done(bench: Bench, clone: Clone) -> str:
    first = clone.door("dvc").at("memory: about")
    clone.edit({"split": {"seed": 7}})
    first.ends_with(0)
    found = [(run.info.status, run.data.params["split.seed"]) for run in checks.tracked(clone.root)][-1:]
    expect(found == [("FINISHED", "123")], f"MLflow has {found}")
    clone.edit({"split": {"seed": 123}})
    complete(clone, clone.door("dvc"))
    return "the run goes to its end, and MLflow has the value that was used"


def _a_value_in_the_last_moment(door: str) -> Callable[[Bench, Clone], str]:
    """DVC stands still from the middle of the training on, and goes on after the edit."""

    def inject(bench: Bench, clone: Clone) -> str:
        first = clone.door(door).at(MIDDLE)
        dvc, stage = first.find("dvc"), first.find("stage")
        assert dvc is not None
        assert stage is not None
        dvc.suspend()
        wait_until(lambda: gone(stage))
        clone.edit(OTHER_RATE)
        dvc.resume()
        # The flow ends with 75, as the value is none that the run began with; DVC goes on.
        first.ends_with({"dvc": 0, "flow": 75}[door], "finetune.learning_rate was 0.005, and is 0.0001 now")
        recorded = clone.lock()["finetune"]["params"]["params.yaml"]["finetune"]["learning_rate"]
        expect(recorded == 0.005, f"dvc.lock has {recorded}")
        clone.edit(RATE)
        second = clone.door(door)
        complete(clone, second)
        expect("finetune" not in second.ran, "put back, it trained again")
        return "one line names it, and the record is of the value that was used; put back, nothing trains again"

    return inject


def _code_in_the_first_moment(bench: Bench, clone: Clone) -> str:
    first = clone.door("dvc").at("Running stage 'finetune'")
    while (stage := first.find("stage")) is None:
        expect(first.code is None, "it has ended")
    stage.suspend()
    path = clone.root / "stages" / "finetune" / "__main__.py"
    before = path.read_text()
    path.write_text(f"{before}\n# Another line.\n")
    stage.resume()
    first.ends_with(255, "exited with 75", "stages/finetune/__main__.py has changed")
    expect("finetune" not in clone.lock(), "dvc.lock has the training")
    path.write_text(before)
    complete(clone, clone.door("dvc"))
    return "75, the file is named, nothing is recorded"


def _the_summary_after_an_edit(bench: Bench, clone: Clone) -> str:
    clone.edit({"download": {"model": {"n_layer": 3}}})
    life = clone.python("-m", "stages.running.summary")
    life.ends_with(0, "download.model.n_layer was 2 when these results were made, and is 3 now", "GPT-2, 2 layers")
    return "the summary tells of the model that was made, and names the value that has changed"


def _a_key_twice(bench: Bench, clone: Clone) -> str:
    path = clone.root / "data" / "instructions.json"
    rows = json.loads(path.read_text())
    text = json.dumps(rows).replace('"output":', '"output": "an earlier one", "output":', 1)
    path.unlink()
    path.write_text(text)
    life = clone.stage("download").ends_with(65, "row 1", "output")
    return life.said.splitlines()[-2].strip(" -")


def _busy_loops(bench: Bench, clone: Clone) -> str:
    loops = [clone.python("-c", "while True: pass") for _ in range(2)]
    complete(clone, clone.door("dvc"))
    for loop in loops:
        loop.process.kill()
        loop.end()
    return "the bytes of an undisturbed run"


def _tokenized(templates: Templates) -> Clone:
    return templates.tokenized()


def _finished(templates: Templates) -> Clone:
    return templates.finished()


FAULTS: Sequence[Fault] = (
    Fault(
        "a value edited during its training",
        "the lock has it beside other bytes",
        "dvc",
        _tokenized,
        _a_value("dvc"),
    ),
    Fault(
        "a value edited during its training, and kept",
        "results of the old value under the new one",
        "flow",
        _tokenized,
        _a_value_that_stays,
    ),
    *(
        Fault(
            "git checkout of another commit during a training",
            "the lock has code beside other bytes",
            door,
            _tokenized,
            _another_commit(door),
        )
        for door in ("dvc", "make")
    ),
    Fault(
        "a value edited, then git checkout of another commit, beside an isolated run",
        "the run takes them",
        "isolated",
        _tokenized,
        _beside_an_isolated_run,
    ),
    *(
        Fault(
            "a value of the judge edited before it starts",
            "MLflow has another value than was used",
            door,
            _tokenized,
            _a_value_of_the_judge(door),
        )
        for door in ("dvc", "flow")
    ),
    Fault(
        "a value of a stage that is done edited during the run",
        "MLflow has another value than was used",
        "dvc",
        _tokenized,
        _a_value_of_a_stage_that_is_done,
    ),
    *(
        Fault(
            "a value edited between a training's end and DVC's hashing",
            "the lock has it beside other bytes",
            door,
            _tokenized,
            _a_value_in_the_last_moment(door),
        )
        for door in ("dvc", "flow")
    ),
    Fault(
        "code edited while a stage starts",
        "the lock has code that was not run",
        "dvc",
        _tokenized,
        _code_in_the_first_moment,
    ),
    Fault(
        "dvc killed by SIGKILL during a training",
        "its stage replaces a later run's files",
        "dvc",
        _tokenized,
        _dvc_is_killed,
    ),
    Fault(
        "params.yaml edited after a run",
        "the summary mixes two runs",
        "summary",
        _finished,
        _the_summary_after_an_edit,
    ),
    Fault("a key twice in a row of the dataset", "the last one wins", "stage", _finished, _a_key_twice),
    Fault("two busy loops beside a run", "a time limit changes a result", "dvc", _tokenized, _busy_loops),
)
