"""What ran: the recipe, what of it differs from the commit, and the data with what its checks found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages.common.html_page import Content, Html, element, table
from stages.common.plurals import counted
from stages.common.results.split import GATE_PAGE, SPLITS
from stages.judge.report.facts import STAGES, Facts, Missing
from stages.judge.report.parts import CELL, LINES, cut, definitions, folded, note, paragraph, section, wide
from stages.params import reading
from stages.params.differences import shown
from stages.running import committed
from stages.running.summary_parts.made_with import changed, prompt_line, recipe_lines

#: Categories of the data that are shown at most.
_CATEGORIES = 40


def ran(facts: Facts) -> Html:
    """The recipe, and what of it differs from params.yaml of the commit."""
    return section(
        "recipe",
        "What ran",
        definitions(list(_recipe(facts))),
        element("h3", "What differs from the commit"),
        *_differences(facts),
        folded("All values that the results were made with", *_values(facts)),
    )


def _recipe(facts: Facts) -> Iterator[tuple[str, Content]]:
    download, training = facts.made("download"), facts.training
    if download:
        yield "model", _model(download, None if isinstance(training, Missing) else training.parameters)
        yield "data", cut(str(download.get("data", {}).get("source", "not known")), CELL)
    if tokenize := facts.made("tokenize"):
        yield "prompt", prompt_line(tokenize)
    section_of_training = facts.made("finetune")
    if section_of_training and not isinstance(training, Missing):
        counts = (*reversed(training.length(section_of_training)), counted(training.tokens_seen, "token"))
        lines = [" ".join(line.split()) for line in recipe_lines(section_of_training, training)]
        yield "training", "; ".join([", ".join([*counts, training.precision]), *lines])
    if generate := facts.made("generate"):
        sampling = "greedy" if not generate.get("temperature") else f"temperature {generate['temperature']}"
        yield "answers", f"{sampling}, at most {counted(int(generate.get('max_new_tokens', 0)), 'new token')}"
    if not isinstance(facts.judged, Missing):
        yield "judge", facts.judged.judge.marked(facts.judged.judge.name)


def _model(section: Mapping[str, Any], parameters: int | None) -> str:
    model = section.get("model", {})
    origin = "from random weights"
    if model.get("weights") != "scratch":
        at = f" at {str(model.get('revision'))[:7]}" if model.get("weights") == "hub" else ""
        origin = f"from {cut(str(model.get('repo')), CELL)}{at}"
    size = f"GPT-2, {counted(int(model.get('n_layer', 0)), 'layer')}, width {model.get('n_embd')}"
    return ", ".join(filter(None, [size, f"{parameters:,} parameters" if parameters else "", origin]))


def _differences(facts: Facts) -> Iterator[Html]:
    there = committed.values(facts.repository, facts.commit) if facts.commit else None
    made = {stage: values for stage in STAGES if (values := facts.made(stage))}
    if there is None or not made:
        yield paragraph("Not known: there is no commit, or dvc.lock does not hold what the results were made with.")
        return
    found = changed(there, made)
    if not found:
        yield paragraph(f"Nothing: all values are those of params.yaml in commit {facts.commit[:7]}.")
        return
    rows = [(_code(key), cut(shown(was), CELL), element("b", cut(shown(here), CELL))) for key, was, here in found]
    yield table(["value", f"in commit {facts.commit[:7]}", "in this run"], rows, most=LINES)


def _values(facts: Facts) -> Iterator[Html]:
    made = {stage: facts.made(stage) for stage in STAGES if facts.made(stage)}
    rows = [(_code(key), cut(shown(value), CELL)) for key, value in reading.flatten(made).items()]
    yield table(["value of params.yaml", "in this run"], rows, most=4 * LINES, whole="dvc.lock")


def _code(key: str) -> Html:
    return element("code", key)


def data(facts: Facts) -> Html:
    """The rows, and what the checks of the stage split found in them."""
    return section("data", "Data", *_data(facts))


def labels(facts: Facts) -> Html:
    """Some train rows, token by token, with what the loss is over."""
    told = [paragraph(facts.labels.why)] if isinstance(facts.labels, Missing) else facts.labels
    return section("labels", "What the loss is over", *told)


def _data(facts: Facts) -> Iterator[Html]:
    census, gate = facts.rows_split, facts.gate
    if isinstance(census, Missing):
        yield paragraph(census.why)
        return
    rows = {name: census.rows.get(name, 0) for name in SPLITS}
    yield paragraph(
        f"{sum(rows.values()):,} rows: {rows['train']:,} to train, {rows['test']:,} to test, and {rows['val']:,} to "
        "validate."
    )
    if dropped := facts.dropped.why if isinstance(facts.dropped, Missing) else facts.dropped:
        yield paragraph(f"{dropped}.")
    if isinstance(gate, Missing):
        yield paragraph(gate.why)
    else:
        if gate.findings:
            found = [
                (element("span", one.severity, class_=one.severity), _code(one.name), one.count, one.what)
                for one in gate.findings
            ]
            yield wide(table(["severity", "check", "rows", "what"], found, most=LINES), "findings of the checks")
        told = f"{counted(len(gate.passed), 'check')} found nothing" + (
            f": {', '.join(gate.passed)}." if gate.passed else "."
        )
        yield note(f"{told} {GATE_PAGE} has examples.")
    yield folded("Rows of each category", _categories(census.categories))


def _categories(counts: Mapping[str, Mapping[str, int]]) -> Html:
    ordered = sorted(counts, key=lambda name: (-sum(counts[name].values()), name))
    rows: list[Sequence[Content]] = [
        (cut(name, 80), *(counts[name].get(split, 0) for split in SPLITS)) for name in ordered
    ]
    return table(["category", *SPLITS], rows, most=_CATEGORIES, whole="artifacts/split/metrics.json")
