"""Mutation testing: how many small errors in the code the tests notice (docs/mutants.md).

    python -m tools.mutants                     every mutant whose outcome is not known yet, then the score
    python -m tools.mutants --only split        only modules whose path has this in it
    python -m tools.mutants --sample 100        100 mutants, drawn with a fixed seed
    python -m tools.mutants --believe           count what survivors.yaml explains as survivors, without another trial
    python -m tools.mutants --fresh             forget what is known, with --only that of these modules

The exit code is 1 where a target has less than 90 % killed, or where a survivor is not explained in survivors.yaml.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from stages.running import program
from stages.running.arguments import Parser, whole_number
from tools.mutants.results import Results, read
from tools.mutants.targets import LEAST_KILLED, ROOT, TARGETS, modules, mutants_of, target_of, tests_of

EXPLAINED = Path(__file__).with_name("survivors.yaml")


@dataclass(frozen=True)
class Tried:
    """A mutant and what came of it: the test that killed it, or None."""

    module: str
    name: str
    line: int
    killer: str | None


def main() -> None:
    """Try what is not known, and print the score."""
    options = _options()
    everything = {
        module: [found.name for found in mutants_of(target, module)]
        for target in TARGETS
        for module in modules(target)
        if options.only in module
    }
    chosen = _sampled(everything, options.sample, options.seed) if options.sample else everything
    explained = explanations()
    believed = {key for key in explained if options.believe}
    results = Results()
    if options.fresh:
        results.forget(everything)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        _try_unknown(_without(chosen, believed), results, Path(folder))
    tried = [
        Tried(module, name, found["line"] if found else 0, found["killer"] if found else None)
        for module, names in chosen.items()
        for name in names
        if (found := results.of(module, tests_of(module), name)) or (module, name) in believed
    ]
    total = sum(map(len, everything.values()))
    if len(tried) < total:
        print(f"of a sample: {len(tried):,} of {total:,} mutants")
    print("\n".join(report(tried, explained)))
    wrong = list(problems(tried, explained, everything if len(tried) == total else None))
    sys.exit("\n".join(wrong) if wrong else 0)


def _options() -> argparse.Namespace:
    parser = Parser(prog="python -m tools.mutants", description="mutation testing")
    parser.add_argument("--only", default="", metavar="TEXT", help="only modules whose path has this in it")
    parser.add_argument("--sample", type=whole_number(1), metavar="N", help="only N mutants, drawn at random")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="seed of the sample (default: 0)")
    parser.add_argument("--believe", action="store_true", help="do not try what survivors.yaml explains")
    parser.add_argument("--fresh", action="store_true", help="forget what is known of these modules")
    return parser.parse_args()


def _sampled(everything: Mapping[str, Sequence[str]], count: int, seed: int) -> dict[str, list[str]]:
    pairs = [(module, name) for module, names in everything.items() for name in names]
    drawn = set(random.Random(seed).sample(pairs, min(count, len(pairs))))  # noqa: S311 not a secret
    found = {module: [name for name in names if (module, name) in drawn] for module, names in everything.items()}
    return {module: names for module, names in found.items() if names}


def _without(chosen: Mapping[str, Sequence[str]], believed: Set[tuple[str, str]]) -> dict[str, list[str]]:
    return {module: [name for name in names if (module, name) not in believed] for module, names in chosen.items()}


def _try_unknown(chosen: Mapping[str, Sequence[str]], results: Results, folder: Path) -> None:
    """Try the mutants whose outcome is not known, in a copy of the repository."""
    copied = folder / "copy"
    for module, names in chosen.items():
        tests = tests_of(module)
        unknown = [name for name in names if results.of(module, tests, name) is None]
        if not unknown:
            continue
        if not copied.exists():
            _copy(copied)
        plan = folder / "plan.json"
        plan.write_text(json.dumps({"module": module, "tests": tests, "names": unknown}), encoding="utf-8")
        sources = read([module, *tests], copied)
        command = [sys.executable, "-m", "tools.mutants.session", str(plan)]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(copied)}
        with (
            open(folder / "pytest.log", "w+", encoding="utf-8") as log,
            subprocess.Popen(command, cwd=copied, env=environment, stdout=subprocess.PIPE, stderr=log) as session,
        ):
            assert session.stdout
            for number, line in enumerate(session.stdout, 1):
                outcome = json.loads(line)
                results.add(module, outcome, sources)
                state = "killed" if outcome["killer"] else "survived"
                print(f"{module}: {number} of {len(unknown)}, line {outcome['line']} {state}", flush=True)
        if session.returncode:
            log_text = (folder / "pytest.log").read_text(encoding="utf-8", errors="replace")
            sys.exit(f"{log_text}\n{module}: its tests cannot be run; to see why: python -m pytest {' '.join(tests)}")


def _copy(target: Path) -> None:
    """Copy the files of the repository that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.decode().split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def explanations() -> dict[tuple[str, str], str]:
    """Why a mutant need not be killed, by module and name, as survivors.yaml says."""
    tree = YAML(typ="safe").load(EXPLAINED) or {}
    return {
        (module, name): entry["why"]
        for module, entries in tree.items()
        for entry in entries
        for name in entry["mutants"]
    }


def report(tried: Sequence[Tried], explained: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """The lines of the table of targets, with the modules of each that has several, and of the survivors."""
    parts: dict[str, list[Tried]] = {}
    for target in TARGETS:
        inside = [one for one in tried if target_of(one.module) == target]
        names = sorted({one.module for one in inside})
        if len(names) > 1:
            parts |= {name: [one for one in inside if one.module == name] for name in names}
        if inside:
            parts[target] = inside
    if len(parts) > 1:
        parts["together"] = list(tried)
    width = max(map(len, parts), default=0)
    yield f"{'code':{width}} {'mutants':>8} {'killed':>7} {'score':>7} {'explained':>10}"
    for name, inside in parts.items():
        alive = [one for one in inside if one.killer is None]
        killed = len(inside) - len(alive)
        known = sum((one.module, one.name) in explained for one in alive)
        yield f"{name:{width}} {len(inside):8,} {killed:7,} {killed / len(inside):7.1%} {known:10,}"
    alive = [one for one in tried if one.killer is None]
    yield f"{len(alive):,} survivors"
    for one in alive:
        if (one.module, one.name) not in explained:
            yield f"  {one.module}:{one.line} {one.name}"


def problems(
    tried: Sequence[Tried],
    explained: Mapping[tuple[str, str], str],
    everything: Mapping[str, Sequence[str]] | None,
) -> Iterator[str]:
    """What is wrong with the outcomes.

    Args:
        tried: the outcomes.
        explained: the survivors that are explained.
        everything: names of all mutants of the modules looked at; None where only a sample was tried.
    """
    unknown = [one for one in tried if one.killer is None and (one.module, one.name) not in explained]
    if unknown:
        yield f"{len(unknown)} survivors are neither killed by a test nor explained in {EXPLAINED.relative_to(ROOT)}"
    killed = {(one.module, one.name) for one in tried if one.killer is not None}
    for module, name in explained:
        gone = everything is not None and module in everything and name not in everything[module]
        if gone or (module, name) in killed:
            yield f"{EXPLAINED.relative_to(ROOT)}: {module}: {name}: {'no such mutant' if gone else 'it is killed'}"
    for target in TARGETS if everything is not None else ():
        inside = [one for one in tried if target_of(one.module) == target]
        if inside and sum(one.killer is not None for one in inside) < LEAST_KILLED * len(inside):
            yield f"{target}: less than {LEAST_KILLED:.0%} of its mutants are killed"


if __name__ == "__main__":
    program.run("mutants", main)
