"""The results of the last run as plain text, from the files that the stages wrote.

`python -m stages.running.summary` prints it. What has not been made yet is named with the command that makes it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.common import paths
from stages.common.files import read_json, read_jsonl, sha256
from stages.common.records import read_records
from stages.common.results.finetune import FINETUNE_METRICS, HISTORY, LOSS_CSV, TUNED_MODEL
from stages.common.results.generate import GENERATE_METRICS, RESPONSES, Response
from stages.common.results.judge import JUDGE_METRICS, SCORES_PLOT, VERDICTS, Verdict
from stages.common.results.split import SPLIT_METRICS, Example, split_file
from stages.params import whole
from stages.running import program
from stages.running.console import duration
from stages.running.costs import JUDGING_COSTS, TRAINING_COSTS
from stages.running.tracking import tracker

WIDTH = 96
_INDENT = 12
_EXAMPLES = 3
_CATEGORIES = 4
_FAULTS = 3

_TOKENS = (("prompt_tokens", "read"), ("reply_tokens", "written"))
_IN_THE_CACHE = "in DVC's cache; put the same values into params.yaml, and dvc repro takes them from there"

REFERENCE_JUDGE = (
    "The built-in judge measures how like the reference an answer is. Its score says that the machine works, "
    "not that the model is good."
)


def text(root: Path = Path(), *, places: bool = True) -> str:
    """The summary, without a line end at its end.

    Args:
        root: the folder with params.yaml and artifacts/.
        places: whether ``root`` stays, so that its files can be named. Those of a copy of the repository go with it
            and are in DVC's cache; the summary says how to get them from there.

    Raises:
        PipelineError: a file is there and is not what it should be.
    """
    settings = whole.load(root / paths.PARAMS)
    parts = [
        _entry("profile", [settings.profile]),
        _entry("data", _data(root)),
        _entry("model", _model(root, settings)),
        _entry("training", _training(root)),
        _entry("score", _score(root)),
        _entry("answers", _answers(root)),
        *_examples(root),
        _entry("files", [*(_places(root) if places else [_IN_THE_CACHE]), *_tracker(root)]),
    ]
    return "\n".join(line for part in parts for line in part)


def _entry(name: str, lines: list[str]) -> Iterator[str]:
    """A name in the margin, and lines beside it, broken where they are too long."""
    margin = name
    for line in lines:
        for piece in textwrap.wrap(line, WIDTH - _INDENT, subsequent_indent="  " if ": " in line else "") or [""]:
            yield f"{margin:<{_INDENT}}{piece}".rstrip().replace("\N{NO-BREAK SPACE}", " ")
            margin = ""


def _not_yet(root: Path, path: Path, stage: str) -> list[str]:
    """What to say of a file that is missing; nothing if it is there."""
    return [] if (root / path).exists() else [f"not made yet: dvc repro {stage}"]


def _data(root: Path) -> list[str]:
    if missing := _not_yet(root, SPLIT_METRICS, "split"):
        return missing
    rows = read_json(root / SPLIT_METRICS, made_by="dvc repro split")["rows"]
    return [f"{rows['train']:,} train, {rows['test']:,} test and {rows['val']:,} validation rows"]


def _model(root: Path, settings: whole.Params) -> list[str]:
    source = settings.download.model
    origin = f"{source.repo} at {str(source.revision)[:7]}" if source.weights == "hub" else "random weights"
    size = f"GPT-2, {source.n_layer} layers, width {source.n_embd}"
    if (root / FINETUNE_METRICS).exists():
        count = read_json(root / FINETUNE_METRICS, made_by="dvc repro finetune").get("parameters")
        size += f", {count:,} parameters" if count else ""
    return [f"{size}, from {origin}"]


def _training(root: Path) -> list[str]:
    if missing := _not_yet(root, FINETUNE_METRICS, "finetune"):
        return missing
    found = read_json(root / FINETUNE_METRICS, made_by="dvc repro finetune")
    counts = [
        f"{found[name]:,} {unit if found[name] == 1 else f'{unit}s'}"
        for name, unit in (("epochs", "epoch"), ("steps", "step"), ("tokens_seen", "token"))
        if found.get(name) is not None
    ]
    lines = [", ".join([*counts, *([found["precision"]] if "precision" in found else [])])]
    first = _first_train_loss(root)
    if found.get("train_loss") is not None:
        start = "" if first is None else f"{first:.3f} → "
        lines.append(f"train loss       {start}{found['train_loss']:.3f} (of the last step's batch)")
    if found.get("val_loss") is not None:
        before, best = found.get("val_loss_before"), found.get("best_val_loss")
        start = "" if before is None else f"{before:.3f} → "
        least = "" if best is None else f" (best {best:.3f} at step {found.get('best_step')})"
        lines.append(f"validation loss  {start}{found['val_loss']:.3f}{least}")
    return lines + _costs(root)


def _costs(root: Path) -> list[str]:
    """What the training cost, if it was done here; results from DVC's cache may be another machine's."""
    if not all((root / path).exists() for path in (TRAINING_COSTS, HISTORY)):
        return []
    entry = read_json(root / TRAINING_COSTS, made_by="dvc repro --force finetune")
    return costs(entry) if entry.get("history") == sha256(root / HISTORY) else []


def costs(entry: dict[str, Any]) -> list[str]:
    """Two lines on what a fine-tuning cost.

    Args:
        entry: as `stages.finetune.costs.ledger` makes it.
    """
    estimated = entry["estimated_seconds"]
    parts = [duration(entry["seconds"]) + ("" if estimated is None else f", estimated {duration(estimated)}")]
    if entry["seconds_to_first_step"] is not None:
        parts.append(f"first step after {duration(entry['seconds_to_first_step'])}")
    parts.append(f"{entry['peak_memory_bytes'] / 2**30:.1f} GiB at most")
    lines = [f"time             {'; '.join(parts)}"]
    if entry["tokens_per_second"] is not None:
        peak = f"{100 * entry['share_of_peak']:.0f} % of the {entry['peak_tflop_per_second']:.3g} TFLOP/s"
        lines.append(f"speed            {entry['tokens_per_second']:,.0f} tokens/s, {peak} of matrix products here")
    return lines


def _first_train_loss(root: Path) -> float | None:
    if not (root / HISTORY).exists():
        return None
    rows = (row for _, row in read_jsonl(root / HISTORY, made_by="dvc repro finetune"))
    return next((row["train_loss"] for row in rows if row.get("train_loss") is not None), None)


def _score(root: Path) -> list[str]:
    if missing := _not_yet(root, JUDGE_METRICS, "judge"):
        return missing
    found = read_json(root / JUDGE_METRICS, made_by="dvc repro judge")
    judge = found["judge"]
    lines = [f"of 100, mean and 95 % interval, by {judge.get('model', 'the built-in reference judge')}"]
    for name, label in (("base", "before"), ("tuned", "fine-tuned")):
        if name in found:
            one = found[name]
            counts = f"{one['scored']} scored, {one['invalid']} invalid, {one['failed']} failed"
            lines.append(f"{label:<11}{_mean(one)}   {counts}")
    if "difference" in found:
        lines.append(f"difference {_mean(found['difference'], sign='+')}   on {found['difference']['n']} rows")
    if "calibration" in found:
        lines += _calibration(found["calibration"])
    if "pairwise" in found:
        lines += _pairwise(found["pairwise"])
    lines += _categories(found["tuned"]["categories"]) + _faults(found["tuned"]["faults"]) + _verdict_costs(root)
    if judge["backend"] == "reference":
        lines.append(REFERENCE_JUDGE)
    return lines


def _verdict_costs(root: Path) -> list[str]:
    """What a verdict took the judge, if it was asked here and its server says so."""
    if not all((root / path).exists() for path in (JUDGING_COSTS, VERDICTS)):
        return []
    entry = read_json(root / JUDGING_COSTS, made_by="dvc repro --force judge")
    if entry.get("verdicts") != sha256(root / VERDICTS):
        return []
    tokens = [f"{entry[name] / entry['replies']:,.0f} tokens {verb}" for name, verb in _TOKENS if name in entry]
    seconds = entry["seconds"] / entry["replies"]
    return [f"a verdict  {', '.join([*tokens, f'{seconds:.2f} s'])}"]


def _pairwise(found: dict[str, Any]) -> list[str]:
    """The fine-tuned answers beside those before: how often they won, and how far that can be believed."""
    rate, controlled = found["win_rate"], found["length_controlled"]["win_rate"]
    if rate["mean"] is None:
        return [f"pairwise   no verdict on {found['rows']} rows"]
    low, high = (rate["interval"][end] for end in ("low", "high"))
    won = f"{100 * rate['mean']:.1f} %{'' if low is None else f' [{100 * low:.1f}, {100 * high:.1f}]'} won"
    lines = [f"pairwise   {won}{'' if controlled is None else f', {100 * controlled:.1f} % at equal length'}"]
    without = found["invalid"] + found["failed"]
    counts = [f"{found[name]} {name}" for name in ("wins", "ties", "losses")] + [f"{without} unjudged"] * (without > 0)
    agree = "" if found["consistency"] is None else f"; the orders agree in {100 * found['consistency']:.0f} %"
    return [*lines, f"           {', '.join(counts)}{agree}"]


def _calibration(found: dict[str, Any]) -> list[str]:
    """The fine-tuned model's mean as better scores put it right, and how far the judge agrees with these."""
    pairs = f"by {found['matched']} better scores"
    if found["stale"]:
        pairs += f", {found['stale']} of other answers left out"
    if found["means"] is None or found["means"]["tuned"]["calibrated"] is None:
        return [f"calibrated  not: {found['matched']} better scores are too few"]
    one = found["means"]["tuned"]
    lines = [f"{'calibrated':<11}{_mean({'mean': one['calibrated'], 'interval': one['interval']})}   {pairs}"]
    hard = found["agreement"]["not_equal_to_reference"]
    if hard["pearson"] is not None:
        lines.append(f"           r {hard['pearson']:.2f} with them on the {hard['n']} not equal to the reference")
    return lines


def _mean(found: dict[str, Any], sign: str = "") -> str:
    if found["mean"] is None:
        return "no score"
    low, high = found["interval"]["low"], found["interval"]["high"]
    interval = "no interval" if low is None else f"[{low:{sign}.1f}, {high:{sign}.1f}]"
    return f"{found['mean']:>{sign}6.1f} {interval}"


def _categories(found: dict[str, Any]) -> list[str]:
    """The categories with the highest and the lowest means; with few of them, all in one line."""
    scored = [(one["mean"], name) for name, one in found.items() if one["mean"] is not None]
    ranked = [f"{name} {mean:.0f}" for mean, name in sorted(scored, key=lambda pair: (-pair[0], pair[1]))]
    if len(ranked) < 2:
        return []
    if len(ranked) <= 2 * _CATEGORIES:
        return [f"categories: {', '.join(ranked)}"]
    return [f"best: {', '.join(ranked[:_CATEGORIES])}", f"worst: {', '.join(ranked[-_CATEGORIES:])}"]


def _faults(found: dict[str, Any]) -> list[str]:
    """What is wrong with the answers and costs most; an answer may have several faults."""
    dearest = [
        f"{name} {one['points_lost']:.1f} (in\N{NO-BREAK SPACE}{one['n']})"
        for name, one in list(found.items())[:_FAULTS]
        if one["points_lost"] >= 0.05
    ]
    return [f"points lost: {', '.join(dearest)}"] if dearest else []


#: Judge-free measures by their names in metrics.json: label, form, factor.
_MEASURES = (
    (("exact_match", "exact", ".1f", 100), ("token_f1", "token F1", ".2f", 1), ("chrf", "chrF", ".1f", 1)),
    (("end_of_text_rate", "ended by itself", ".0f", 100), ("cap_hit_rate", "cut at the cap", ".0f", 100)),
    (("template_leaks", "with parts of the prompt's form", ".0f", 100), ("length_ratio", "length ratio", ".2f", 1)),
)


def _answers(root: Path) -> list[str]:
    """The answers without a judge: before fine-tuning, if the base model answered too, and after."""
    if missing := _not_yet(root, GENERATE_METRICS, "generate"):
        return missing
    found = read_json(root / GENERATE_METRICS, made_by="dvc repro generate")
    models = [found[name] for name in ("base", "tuned") if name in found]
    lines = []
    for group in _MEASURES:
        parts = []
        for name, label, form, factor in group:
            figures = " → ".join(f"{factor * one[name]:{form}}" for one in models if name in one)
            parts += [f"{label} {figures}{' %' if factor == 100 else ''}"] if figures else []
        lines += [", ".join(parts)] if parts else []
    if blocked := found["tuned"].get("no_room"):
        leave = "prompt leaves" if blocked == 1 else "prompts leave"
        lines.append(f"{blocked:,} {leave} no room for an answer: too long for the model")
    if compared := found["tuned"].get("bf16_compared"):
        shares = " → ".join(f"{100 * one['bf16_changed']:.0f}" for one in models if "bf16_changed" in one)
        lines.append(f"bf16 changes {shares} % of the first {compared} answers")
    return lines


def _examples(root: Path) -> Iterator[Iterator[str]]:
    """Answers of the best, the middle and the worst score, with the reference and the base model's answer."""
    test = root / split_file("test")
    if not all(file.exists() for file in (test, root / RESPONSES, root / VERDICTS)):
        return
    rows = {row.id: row for row in read_records(test, Example, made_by="dvc repro split")}
    answers: dict[tuple[str, str], str] = {
        (row.id, row.model): row.text for row in read_records(root / RESPONSES, Response, made_by="dvc repro generate")
    }
    verdicts = read_records(root / VERDICTS, Verdict, made_by="dvc repro judge")
    scores = {row.id: row.score for row in verdicts if row.model == "tuned" and row.score is not None}
    ranked = sorted((name for name in rows if name in scores), key=lambda name: -scores[name])
    places = sorted(
        {round(place * (len(ranked) - 1) / (_EXAMPLES - 1)) for place in range(_EXAMPLES)} if ranked else []
    )
    for name in (ranked[place] for place in places):
        row = rows[name]
        yield _entry("example", [_short(f"{row.instruction} {row.input}")])
        yield _entry("", [f"reference   {_short(row.output, 12)}"])
        if (name, "base") in answers:
            yield _entry("", [f"before      {_short(answers[name, 'base'], 12)}"])
        score = f"fine-tuned  {_short(answers.get((name, 'tuned'), ''), 29)}"
        yield _entry("", [f"{score}   ({scores[name]:.0f} of 100)"])


def _short(value: str, taken: int = 0) -> str:
    """A text on one line, cut to the width that is left."""
    line = " ".join(value.split()) or "(nothing)"
    room = WIDTH - _INDENT - taken - 2
    return line if len(line) <= room else f"{line[: room - 1]}…"


def _places(root: Path) -> list[str]:
    named = [
        ("model", TUNED_MODEL),
        ("history", HISTORY),
        ("loss curve", LOSS_CSV),
        ("answers", RESPONSES),
        ("verdicts", VERDICTS),
        ("score plot", SCORES_PLOT),
    ]
    lines = [f"{name:<12}{path}" for name, path in named if (root / path).exists()]
    return [f"{line} (dvc plots show)" if line.endswith(".csv") else line for line in lines]


def _tracker(root: Path) -> list[str]:
    return [f"{'MLflow':<12}{tracker.shown_uri(root)}", f"{'compare':<12}make ui"]


def main() -> None:
    """Print the summary of the working directory's results."""
    print(text())


if __name__ == "__main__":
    program.run("summary", main)
