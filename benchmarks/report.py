"""From what was measured of trainings to what is reported: the arithmetic, and the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, median

from benchmarks.results import Run, Spread, TrainingFigures, TrainingRatios, TrainingReport


def estimated_seconds(run: Run, total_steps: int) -> float:
    """Seconds of the whole recipe: its steps at the mean of those measured, and its evaluations.

    The recipe takes the sum of its steps. Some batches take several times as long as others, most of all where rows are
    padded, so that steps at their median would come to too little.
    """
    return total_steps * mean(run.timing.step_s) + run.evaluations * median(run.timing.evaluation_s)


def summary(runs: Sequence[Run], *, total_steps: int, peak: float, floor: float) -> TrainingFigures:
    """The figures of one contender.

    Args:
        runs: the contender's run in each repeat.
        total_steps: steps of the whole recipe.
        peak: the machine's fastest matrix product, in TFLOP/s.
        floor: seconds that a step takes at least.
    """
    timings = [run.timing for run in runs]
    speeds = [run.model_flops / run.timing.window_s / 1e12 for run in runs]
    return TrainingFigures(
        precision=runs[0].precision,
        versions=runs[0].versions,
        tokens_per_s=Spread.of([timing.tokens_per_second for timing in timings]),
        step_s=Spread.of([seconds for timing in timings for seconds in timing.step_s]),
        evaluation_s=Spread.of([seconds for timing in timings for seconds in timing.evaluation_s]),
        evaluations=runs[0].evaluations,
        estimated_s=Spread.of([estimated_seconds(run, total_steps) for run in runs]),
        cores_of_others=max(timing.cores_of_others for timing in timings),
        setup_s=Spread.of([timing.setup_s for timing in timings]),
        peak_memory_bytes=max(timing.peak_memory_bytes for timing in timings),
        model_tflops_per_s=Spread.of(speeds),
        mfu=Spread.of([speed / peak for speed in speeds]),
        share_of_floor=Spread.of([floor / mean(timing.step_s) for timing in timings]),
        final_loss=median(run.final_loss for run in runs),
    )


def ratios(ours: Sequence[Run], peer: Sequence[Run], *, total_steps: int) -> TrainingRatios:
    """How many times as fast as a peer we are, from runs that followed one another: above 1 is better, memory too."""
    pairs = list(zip(ours, peer, strict=True))
    mine, theirs = (max(run.timing.peak_memory_bytes for run in runs) for runs in (ours, peer))
    return TrainingRatios(
        tokens_per_s=Spread.of([a.timing.tokens_per_second / b.timing.tokens_per_second for a, b in pairs]),
        recipe=Spread.of([estimated_seconds(b, total_steps) / estimated_seconds(a, total_steps) for a, b in pairs]),
        memory=theirs / mine,
    )


def tables(report: TrainingReport) -> str:
    """The report as Markdown."""
    machine, job, floor = report.machine, report.job, report.floor
    products = "; ".join(
        f"{dtype} " + ", ".join(f"{size}: {speed:.3g}" for size, speed in sizes.items())
        for dtype, sizes in machine.tflops_per_s.items()
    )
    lines = [
        f"{job.model} on {machine.hardware}, {machine.memory_gib} GiB, "
        f"{machine.threads} threads, torch {machine.torch}, load {machine.load_before} before",
        f"Matrix products, TFLOP/s by width: {products}",
        f"The floor of a step: {floor.step_s:.3g} s, of which {floor.products_s:.3g} of matrix products at "
        f"{floor.products_tflops_per_s:.3g} TFLOP/s and {floor.bytes_s:.3g} of the optimiser's bytes at "
        f"{floor.bandwidth_gb_per_s:.3g} GB/s",
        f"{job.data}: {job.rows_train} train rows, batches of {job.batch_size}; {job.warmup} steps to warm "
        f"up and {job.steps} measured, {job.repeats} times in turn; the recipe has {job.total_steps} steps",
        "",
        *_figures(report.contenders),
        "",
        *_ratios(report.ratios),
    ]
    return "\n".join([*lines, *not_run_lines(report.not_run)])


def _figures(contenders: Mapping[str, TrainingFigures]) -> list[str]:
    rows = head(
        "",
        "share of the floor (low–high)",
        "precision",
        "target tokens/s",
        "s a step (low–high)",
        "s an evaluation",
        "s for the recipe, estimated",
        "peak memory, GiB",
        "others' cores",
        "model TFLOP/s (MFU)",
        "loss after",
    )
    for name, found in contenders.items():
        rows.append(
            line(
                name,
                found.share_of_floor.text(".0%"),
                found.precision,
                f"{found.tokens_per_s.median:.4g}",
                found.step_s.text(".3g"),
                f"{found.evaluation_s.median:.3g} x {found.evaluations}",
                f"{found.estimated_s.median:.4g}",
                f"{found.peak_memory_bytes / 2**30:.2f}",
                f"{found.cores_of_others:.1f}",
                f"{found.model_tflops_per_s.median:.3g} ({found.mfu.median:.0%})",
                f"{found.final_loss:.3f}",
            )
        )
    return rows


def _ratios(found: Mapping[str, TrainingRatios]) -> list[str]:
    rows = head("ours against", "tokens/s (low–high)", "recipe with evaluations (low–high)", "memory, theirs to ours")
    for name, ratio in found.items():
        rows.append(line(name, ratio.tokens_per_s.text(".2f"), ratio.recipe.text(".2f"), f"{ratio.memory:.2f}"))
    return rows


def not_run_lines(reasons: Mapping[str, str]) -> list[str]:
    """Lines that tell which contenders did not run, and why."""
    return [f"\n{name} did not run: {why}" for name, why in reasons.items()]


def head(*cells: str) -> list[str]:
    """The first two lines of a Markdown table."""
    return [line(*cells), "|" + "---|" * len(cells)]


def line(*cells: str) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"
