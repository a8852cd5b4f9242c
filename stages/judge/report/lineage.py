"""What the run cost, where its results come from, and the commands that make them again."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
from collections.abc import Iterator
from pathlib import Path

from stages.common import paths
from stages.common.html_page import Content, Html, element, table
from stages.judge.report.facts import STAGES, Facts
from stages.judge.report.parts import code, definitions, note, number, paragraph, section, wide
from stages.params.differences import shown
from stages.running import committed, digests, dvc_yaml, git, lock
from stages.running.console import duration
from stages.running.summary_parts.made_with import changed
from stages.running.summary_parts.scores import verdict_cost_lines
from stages.running.summary_parts.training import cost_lines

#: Packages whose versions can change a result.
_PACKAGES = ("torch", "numpy", "scipy", "safetensors", "tiktoken", "sacrebleu", "rapidfuzz", "pandas", "dvc")
#: Names of files that are shown at most.
_FILES = 10


def costs(facts: Facts) -> Html:
    """Time and memory by stage, as far as they are known on this machine."""
    return section("costs", "Costs", *_costs(facts))


def _costs(facts: Facts) -> Iterator[Html]:
    rows = [
        (name, duration(one.seconds), number(one.peak_memory_bytes / 2**20, 0))
        for name, one in facts.stage_costs.items()
    ]
    if rows:
        yield table(["stage", "time", "peak memory, MiB"], rows, most=len(rows), figures=(1, 2))
        absent = [name for name in STAGES if name not in facts.stage_costs and name != facts.making]
        if absent:
            yield note(f"Not known here: {', '.join(absent)}. Results from DVC’s cache may be another machine’s.")
    else:
        yield paragraph(
            "Time and memory of the stages are not known here: the results are of DVC’s cache, or of another machine."
        )
    told: list[tuple[str, Content]] = []
    if facts.training_costs is not None:
        told += [
            (name, rest.strip()) for name, _, rest in (line.partition(" ") for line in cost_lines(facts.training_costs))
        ]
    if facts.judging_costs is not None:
        told += [
            ("a verdict", line.removeprefix("a verdict").strip()) for line in verdict_cost_lines(facts.judging_costs)
        ]
    if told:
        yield definitions([(f"training, {name}" if name != "a verdict" else name, what) for name, what in told])


def lineage(facts: Facts) -> Html:
    """The commit, the digests of what each stage has made, and how to make it again."""
    return section(
        "lineage",
        "Lineage, and how to make it again",
        *_again(facts),
        definitions(list(_sources(facts))),
        wide(_results(facts), "digests of results"),
    )


def _again(facts: Facts) -> Iterator[Html]:
    there = committed.values(facts.repository, facts.commit) if facts.commit else None
    if there is None:
        yield paragraph("The commit is not known here, so that no command makes the results again.")
        return
    made = {stage: values for stage in STAGES if (values := facts.made(stage))}
    sets = [f"--set {shlex.quote(f'{key}={shown(here)}')}" for key, _, here in changed(there, made)]
    run = f"python -m flows.run {' '.join(sets)}" if sets else "make run"
    yield paragraph("In a clone of the repository, with the data of the digest below:")
    yield code(f"git checkout {facts.commit}\n{run}")
    if others := _uncommitted(facts):
        more = f" and {len(others) - _FILES} more" if len(others) > _FILES else ""
        yield element(
            "p",
            element("b", "Not all of it is in the commit. "),
            f"When this page was made, these files differed: {', '.join(others[:_FILES])}{more}. Commit them, so "
            "that the run can be made again.",
            class_="alert",
            role="note",
        )
    yield note(
        "On a machine with the same kind of processor, the results have the digests below, to the byte. On others, "
        "sums can round otherwise, and figures differ in their last digits."
    )


def _uncommitted(facts: Facts) -> list[str]:
    """Files of the run that differ from the commit, but for params.yaml, whose differences the command has."""
    listed = git.ask(facts.repository, "status", "--porcelain", "--no-renames", "--untracked-files=all")
    names = [line[2:].strip().strip('"') for line in listed.splitlines()]
    read = {path.as_posix() for inputs in facts.recorded.inputs.values() for path in inputs}
    sources = (*read, str(dvc_yaml.PIPELINE), "data.dvc", "assets")
    return sorted(name for name in names if name in read or name.startswith(sources))


def _sources(facts: Facts) -> Iterator[tuple[str, Content]]:
    yield "commit", element("code", facts.commit or "not known")
    data = facts.recorded.inputs.get("download", {}).get(paths.DATA)
    if data is not None:
        yield "data, MD5 of DVC", element("code", data)
    yield "Python", platform.python_version()
    yield "packages here", ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _results(facts: Facts) -> Html:
    rows: list[tuple[Content, Content, Content]] = []
    for stage in STAGES:
        for path, digest in _digests(facts, stage):
            rows.append((stage, element("code", path.as_posix()), element("code", digest)))
    return table(["stage", "result", f"MD5 in {lock.LOCK}"], rows, most=len(rows))


def _digests(facts: Facts, stage: str) -> list[tuple[Path, str]]:
    """The results of a stage with their MD5; those of a stage that DVC records next are computed."""
    if stage == facts.making:
        entry = dvc_yaml.entry_of(stage, facts.root)
        there = [path for path in entry.outs if (facts.root / path).exists()] if entry is not None else []
        return [(path, digests.digest(facts.root / path)) for path in sorted(there)]
    folder = paths.ARTIFACTS / stage
    return sorted((path, digest) for path, digest in facts.recorded.digests.items() if path.is_relative_to(folder))
