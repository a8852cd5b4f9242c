"""What the run cost, where its results come from, and the commands that make them again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.common import paths
from stages.common.html_page import Content, Html, element, joined, table
from stages.download.watched import is_watched
from stages.judge.report.facts import STAGES, Facts
from stages.judge.report.parts import CELL, code, cut, definitions, note, number, paragraph, section, wide
from stages.params.differences import shown
from stages.running import committed, digests, dvc_yaml, git, lock, made_on
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
    yield paragraph("In a clone of the repository, with the data below:")
    yield code(f"git checkout {facts.commit}\n{run}")
    if facts.wrong:
        yield _alert(
            "This commit does not give these results.",
            f"They were made from other code than it has, which is in no other commit that was looked at: "
            f"{_named(facts.wrong)}. Commit that code, so that the run can be made again.",
        )
        return
    if others := _uncommitted(facts):
        yield _alert(
            "Not all of it is in the commit.",
            f"When this page was made, these files differed: {_named(others)}. Commit them, so that the run can be "
            "made again.",
        )
        return
    yield note(
        "On a machine with the same kind of processor, the results have the digests below, to the byte. On others, "
        "sums can round otherwise, and figures differ in their last digits."
    )


def _alert(head: str, rest: str) -> Html:
    return element("p", element("b", f"{head} "), rest, class_="alert", role="note")


def _named(files: Sequence[str]) -> str:
    """The first of some files, and how many more there are."""
    more = f" and {len(files) - _FILES} more" if len(files) > _FILES else ""
    return f"{', '.join(files[:_FILES])}{more}"


def _uncommitted(facts: Facts) -> list[str]:
    """Files of the run other than code that differ from the last commit.

    `facts.wrong` has the code, and the command has the values of params.yaml.
    """
    listed = git.ask(facts.repository, "status", "--porcelain", "--no-renames", "--untracked-files=all")
    names = [line[2:].strip().strip('"') for line in listed.splitlines()]
    read = {path.as_posix() for inputs in facts.recorded.inputs.values() for path in inputs}
    read = {path for path in read if not path.endswith(".py")}
    sources = (*read, str(dvc_yaml.PIPELINE), "data.dvc", "assets")
    return sorted(name for name in names if name in read or name.startswith(sources))


def _sources(facts: Facts) -> Iterator[tuple[str, Content]]:
    yield "commit", element("code", facts.commit or "not known")
    yield from _data(facts)
    yield from _environment(facts.environment)


def _data(facts: Facts) -> Iterator[tuple[str, Content]]:
    """What fixes the rows of the run: of a file under data/ the MD5 in dvc.lock, of any other its own SHA-256.

    dvc.lock has the MD5 of data/ of every run, of those that have read nothing there too.
    """
    values = facts.made("download").get("data")
    if not isinstance(values, Mapping):
        return
    used = list(values.get("sources") or [values])
    if any(is_watched(str(one.get("source"))) for one in used):
        md5 = facts.recorded.inputs.get("download", {}).get(paths.DATA)
        yield f"{paths.DATA}/, MD5 of DVC", element("code", md5 or "not known")
    for one in used[:_FILES]:
        source, sha256 = str(one.get("source")), one.get("sha256")
        if sha256:
            yield "data, SHA-256", joined([cut(source, CELL), element("code", str(sha256))], " ")
        elif not is_watched(source):
            yield "data", cut(source, CELL)  # on the hub, whose commit is in the address
    if len(used) > _FILES:
        yield "more data", f"{len(used) - _FILES} more sources, in params.yaml"


def _environment(kept: Mapping[str, Any]) -> Iterator[tuple[str, Content]]:
    """What the run was made on, where that is kept with it. This machine may be another one."""
    packages = kept.get("packages")
    if not isinstance(packages, Mapping) or "python" not in kept:
        yield "Python and packages", f"not known here; a run in MLflow keeps them as {made_on.FILE}"
        return
    yield "Python", cut(str(kept["python"]), CELL)
    yield "processor", cut(str(kept.get("processor", "not known")), CELL)
    yield "packages", ", ".join(f"{name} {cut(str(packages.get(name, 'absent')), CELL)}" for name in _PACKAGES)


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
