"""Kills in chains: a run is killed, another door goes on, and is killed too, until one comes to its end.

Each life is a door drawn by the seed, killed at a moment drawn by the seed: some time after its start, or after the
beginning of a stage. What is killed is the door itself, one of the processes below it, or all at once, as where the
power goes. At the end everything is what an undisturbed run leaves.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.faults import checks
from tests.faults.clones import DOORS, STAGES, Clone, Life, Wrong, ended, expect
from tests.faults.table import FAIL, OK, Bench, Row
from tests.faults.truth import wrong_files

#: Kills of a chain; a chain ends early where a run came to its end before its kill.
LENGTH = 5
#: Who is killed: mostly what people and the system kill.
_VICTIMS = ("door", "all", "stage", "dvc", "guard", "flow")
_WEIGHTS = (3, 3, 2, 2, 1, 1)
#: The longest wait, in seconds, after the start of a run, and after the beginning of a stage.
_AFTER_START = 6.0
_AFTER_STAGE = 1.5
#: Values that the isolated door runs with, as in `DOORS`.
ISOLATED = {"finetune": {"seed": 7}}


@dataclass
class Chain:
    """A clone and what its killed lives have left.

    Args:
        clone: the clone.
        draw: source of all that is drawn.
        keys: the key of the training that each kind of door makes, once it is known.
    """

    clone: Clone
    draw: random.Random
    keys: dict[str, str] = field(default_factory=dict)

    def life(self) -> tuple[str, str, bool]:
        """Start a door and kill it; the door, what was seen, and whether it still ran when it was to be killed.

        Raises:
            Wrong: a training began from scratch though there was a checkpoint, or a process outlives the kill.
        """
        door = self.draw.choice(list(DOORS))
        number = signal.SIGTERM if self.draw.random() < 0.2 else signal.SIGKILL
        done = set(self.clone.lock()) if door != "isolated" else set()
        moment = self.draw.choice(["start", *(stage for stage in STAGES if stage not in done)])
        victim = self.draw.choices(_VICTIMS, _WEIGHTS)[0]
        before = self.clone.checkpoints()
        life = self.clone.door(door)
        if moment == "start":
            wait = self.draw.uniform(0, _AFTER_START)
        else:
            wait = self.draw.uniform(0, _AFTER_STAGE)
            life.until(f"Running stage '{moment}'")
        killed = _kill_after(life, wait, victim, number)
        life.end()  # where a stage, DVC or the guard is killed, the flow tries the stage once more
        found = checks.left_processes(self.clone)
        expect(not found, "; ".join(found))
        where = "in its start" if moment == "start" else f"in {moment}"
        what = f"{killed or 'nothing to kill'}, {wait:.1f} s {where}"
        return door, f"{what}; {self.went_on(life, before)}", bool(killed)

    def went_on(self, life: Life, before: dict[str, int]) -> str:
        """What became of the training in a life.

        Args:
            life: the life, which has ended.
            before: the newest checkpoint of each training when it began.

        Raises:
            Wrong: it began from scratch though there was a checkpoint.
        """
        kind = "isolated" if life.door == "isolated" else "here"
        now = self.clone.checkpoints()
        if kind not in self.keys and "finetune" in life.ran:
            new = set(now) - set(before) - set(self.keys.values())
            self.keys |= {kind: new.pop()} if len(new) == 1 else {}
        step = before.get(self.keys.get(kind, ""), 0)
        if "finetune" not in life.ran:
            return f"the training had not begun, or was done; newest checkpoint: step {max(now.values(), default=0)}"
        first = life.said.partition("Running stage 'finetune'")[2]
        if step and "step 10/" in first:
            expect("going on from" in first, f"the training began from scratch, with a checkpoint of step {step} there")
        went = "from a checkpoint" if "going on from" in first else "from the beginning"
        return f"training {went}; newest checkpoint: step {max(now.values(), default=0)}"


def _kill_after(life: Life, seconds: float, victim: str, number: int) -> str:
    """Kill a process of a life after some time; who was killed, or "" where the life ended before."""
    try:
        life.end(seconds)
        return ""
    except Wrong:  # it still runs
        pass
    for who in (victim, "door"):  # the one that is drawn may not have begun
        if life.kill(who, number):
            return f"{signal.Signals(number).name} to {'all processes' if who == 'all' else f'the {who}'}"
    return ""


def run(bench: Bench, kills: int) -> Iterator[Row]:
    """Make chains with so many kills in all, and yield a row for each kill and one for the end of each chain.

    Args:
        bench: what they are made with.
        kills: the number of kills.
    """
    draw = random.Random(bench.seed)
    number = 0
    chain = 0
    while number < kills:
        chain += 1
        with ended(bench.templates.fresh()) as clone:
            lives = Chain(clone, draw)
            for _ in range(min(LENGTH, kills - number)):
                began = time.monotonic()
                name = f"kill {number + 1} (chain {chain})"
                try:
                    door, seen, killed = lives.life()
                except Wrong as what:
                    number += 1
                    yield Row(
                        name, "a training, a record", clone.lives[-1].door, str(what), FAIL, time.monotonic() - began
                    )
                    break
                if not killed:
                    break  # the run came to its end: what it has made is compared
                number += 1
                yield Row(name, "a training, a record", door, seen, OK, time.monotonic() - began)
            yield _end(bench, clone, f"end of chain {chain}", draw)


def _end(bench: Bench, clone: Clone, name: str, draw: random.Random) -> Row:
    """Let a door go on to the end, and compare everything with undisturbed runs."""
    door = draw.choice(["flow", "make", "dvc"])
    about = "hashes, records, MLflow runs, processes"
    began = time.monotonic()
    try:
        life = clone.door(door).ends_with(0)
        found = [*wrong_files(clone), *checks.problems(clone, bench.truth)]
        if changed := clone.status():
            found.append(f"dvc status: {changed}")
        if text := clone.git("status", "--porcelain", "--", ".", ":(exclude)dvc.lock"):
            found.append(f"git status: {text}")
        if left := list((clone.root / ".cache" / "workspaces").glob("run-*")):
            # The next isolated run removes them.
            clone.door("isolated").ends_with(0)
            found += [f"{path} is left" for path in left if path.exists()]
        found += checks.problems(clone, bench.truth)
    except Wrong as what:
        return Row(name, about, door, str(what), FAIL, time.monotonic() - began)
    runs = checks.tracked(clone.root)
    states = ", ".join(sorted(run.info.status for run in runs)) or "none"
    seen = (
        f"ran {', '.join(life.ran) or 'nothing'}; {len(clone.lock())} stages with undisturbed hashes; MLflow: {states}"
    )
    told = "; ".join([seen, *dict.fromkeys(found)])
    return Row(name, about, door, told, FAIL if found else OK, time.monotonic() - began)
