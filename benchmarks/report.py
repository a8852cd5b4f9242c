"""From what was measured to what is reported: the arithmetic, and the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

#: A figure over the repeats: its median, smallest and largest.
Spread = dict[str, float]

Run = Mapping[str, Any]


def spread(values: Sequence[float]) -> Spread:
    """[3, 1, 2] is {"median": 2, "low": 1, "high": 3}."""
    return {"median": median(values), "low": min(values), "high": max(values)}


def tokens_per_second(run: Run) -> float:
    """Real tokens of the measured steps over their seconds."""
    tokens: int = sum(run["tokens"][len(run["warmup_s"]) :])
    return tokens / float(run["window_s"])


def projected_seconds(run: Run, total_steps: int) -> float:
    """Seconds of the whole recipe: its steps at the mean of those measured, and its evaluations.

    The recipe takes the sum of its steps. Some batches are several times as long as others, most of all where rows are
    padded, so that steps at their median would come to too little.
    """
    evaluating: float = run["evaluations"] * median(run["evaluation_s"])
    return total_steps * mean(run["step_s"]) + evaluating


def peak_tflops(machine: Mapping[str, Any]) -> float:
    """The fastest matrix product measured, whatever its dtype."""
    return float(max(speed for sizes in machine["tflops_per_s"].values() for speed in sizes.values()))


def summary(runs: Sequence[Run], *, total_steps: int, peak: float) -> dict[str, Any]:
    """The figures of one contender.

    Args:
        runs: one a repeat.
        total_steps: of the whole recipe.
        peak: the machine's matrix products, TFLOP/s.
    """
    useful = [run["useful_flops"] / run["window_s"] / 1e12 for run in runs]
    return {
        "precision": runs[0]["precision"],
        "versions": runs[0]["versions"],
        "tokens_per_s": spread([tokens_per_second(run) for run in runs]),
        "step_s": spread([seconds for run in runs for seconds in run["step_s"]]),
        "evaluation_s": spread([seconds for run in runs for seconds in run["evaluation_s"]]),
        "evaluations": runs[0]["evaluations"],
        "projected_s": spread([projected_seconds(run, total_steps) for run in runs]),
        "cores_of_others": max(run["cores_of_others"] for run in runs),
        "setup_s": spread([run["setup_s"] for run in runs]),
        "peak_memory_bytes": max(run["peak_memory_bytes"] for run in runs),
        "useful_tflops_per_s": spread(useful),
        "share_of_peak": spread([speed / peak for speed in useful]),
        "final_loss": median(run["final_loss"] for run in runs),
    }


def ratios(ours: Sequence[Run], peer: Sequence[Run], *, total_steps: int) -> dict[str, Any]:
    """How many times as fast as a peer we are, from runs that followed one another: above 1 is better, memory too."""
    pairs = list(zip(ours, peer, strict=True))
    memory = max(run["peak_memory_bytes"] for run in peer) / max(run["peak_memory_bytes"] for run in ours)
    return {
        "tokens_per_s": spread([tokens_per_second(mine) / tokens_per_second(theirs) for mine, theirs in pairs]),
        "recipe": spread(
            [projected_seconds(theirs, total_steps) / projected_seconds(mine, total_steps) for mine, theirs in pairs]
        ),
        "memory": memory,
    }


def tables(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    machine, job = report["machine"], report["job"]
    hardware = machine.get("gpu") or f"{machine['cores']} cores of {machine['cpu']}"
    instructions = " ".join(machine["instructions"])
    products = "; ".join(
        f"{dtype} " + ", ".join(f"{size}: {speed:.3g}" for size, speed in sizes.items())
        for dtype, sizes in machine["tflops_per_s"].items()
    )
    lines = [
        f"{job['model']} on {hardware} ({instructions}), {machine['memory_gib']} GiB, "
        f"{machine['threads']} threads, torch {machine['torch']}, load {machine['load_before']} before",
        f"Matrix products, TFLOP/s by width: {products}",
        f"{job['data']}: {job['rows_train']} train rows, batches of {job['batch_size']}; {job['warmup']} steps to warm "
        f"up and {job['steps']} measured, {job['repeats']} times in turn; the recipe has {job['total_steps']} steps",
        "",
        *_figures(report["contenders"]),
        "",
        *_ratios(report["ratios"]),
    ]
    return "\n".join([*lines, *(f"\n{name} did not run: {why}" for name, why in report["not_run"].items())])


def _figures(contenders: Mapping[str, Any]) -> list[str]:
    rows = head(
        "",
        "precision",
        "real tokens/s",
        "s a step (low–high)",
        "s an evaluation",
        "s for the recipe",
        "peak memory, GiB",
        "others' cores",
        "useful TFLOP/s (of peak)",
        "loss after",
    )
    for name, found in contenders.items():
        evaluation = f"{found['evaluation_s']['median']:.3g} x {found['evaluations']}"
        useful = f"{found['useful_tflops_per_s']['median']:.3g} ({found['share_of_peak']['median']:.0%})"
        rows.append(
            line(
                name,
                found["precision"],
                f"{found['tokens_per_s']['median']:.4g}",
                with_spread(found["step_s"], ".3g"),
                evaluation,
                f"{found['projected_s']['median']:.4g}",
                f"{found['peak_memory_bytes'] / 2**30:.2f}",
                f"{found['cores_of_others']:.1f}",
                useful,
                f"{found['final_loss']:.3f}",
            )
        )
    return rows


def _ratios(found: Mapping[str, Any]) -> list[str]:
    rows = head("ours against", "tokens/s (low–high)", "recipe with evaluations (low–high)", "memory, theirs to ours")
    for name, ratio in found.items():
        speeds = (with_spread(ratio[key], ".2f") for key in ("tokens_per_s", "recipe"))
        rows.append(line(name, *speeds, f"{ratio['memory']:.2f}"))
    return rows


def with_spread(found: Spread, form: str) -> str:
    """A median with its smallest and largest, as "2 (1–3)"."""
    return f"{found['median']:{form}} ({found['low']:{form}}–{found['high']:{form}})"


def head(*cells: str) -> list[str]:
    """The first two lines of a Markdown table."""
    return [line(*cells), "|" + "---|" * len(cells)]


def line(*cells: str) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"
