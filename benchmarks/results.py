"""What the benchmarks measure and report, as typed models."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Self

from stages.common.records import Metrics


class Spread(Metrics):
    """A figure over the repeats: its median, smallest and largest value."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value: 3, 1 and 2 have the median 2, between 1 and 3."""
        return cls(median=median(values), low=min(values), high=max(values))

    def text(self, form: str) -> str:
        """The median with the smallest and largest value, such as "2 (1–3)", each in a format such as ".3g"."""
        return f"{self.median:{form}} ({self.low:{form}}–{self.high:{form}})"


class Machine(Metrics):
    """The hardware and the software that a measurement depends on.

    Args:
        cpu: the processor's name.
        cores: cores that this process may use.
        threads: threads of torch.
        instructions: CPU instructions that decide about the speed of matrix products.
        memory_gib: main memory.
        system: the operating system and the architecture.
        python: Python's version.
        torch: torch's version.
        gpu: the GPU's name; None on a CPU, as the next three.
        gpu_memory_gib: the GPU's memory.
        gpu_capability: the GPU's compute capability.
        cuda: CUDA's version.
        tflops_per_s: speed of square matrix products by dtype and width, such as {"bf16": {"1024": 0.7}}.
        load_before: the machine's load average before the benchmark.
    """

    cpu: str
    cores: int
    threads: int
    instructions: list[str]
    memory_gib: float
    system: str
    python: str
    torch: str
    gpu: str | None = None
    gpu_memory_gib: float | None = None
    gpu_capability: str | None = None
    cuda: str | None = None
    tflops_per_s: dict[str, dict[str, float]]
    load_before: float | None = None

    @property
    def peak_tflops(self) -> float:
        """The fastest matrix product measured, in TFLOP/s, whatever its dtype."""
        return max(speed for sizes in self.tflops_per_s.values() for speed in sizes.values())

    @property
    def hardware(self) -> str:
        """The GPU, or the cores and the processor; then the CPU's instructions."""
        return f"{self.gpu or f'{self.cores} cores of {self.cpu}'} ({' '.join(self.instructions)})"


class Floor(Metrics):
    """The least that a step of a task takes on a machine (`benchmarks.roofline`).

    Args:
        products_s: seconds of its matrix products, each at the speed that it reaches here alone; the mean of the steps.
        bytes_s: seconds of the bytes that AdamW moves, at the memory's speed.
        products_tflops_per_s: speed of all these products together.
        bandwidth_gb_per_s: the memory's speed.
    """

    products_s: float
    bytes_s: float
    products_tflops_per_s: float
    bandwidth_gb_per_s: float

    @property
    def step_s(self) -> float:
        """Seconds of a step."""
        return self.products_s + self.bytes_s


class Timing(Metrics):
    """What the clock measured of one training.

    Args:
        setup_s: seconds from the start of the process to the first step.
        warmup_s: seconds of each step of the warm-up.
        step_s: seconds of each measured step.
        window_s: seconds of all measured steps together.
        cores_of_others: cores that other processes kept busy meanwhile.
        tokens: target tokens of each step, those of the warm-up first.
        losses: mean loss of each step before its update, those of the warm-up first.
        evaluation_s: seconds of each evaluation.
        peak_memory_bytes: peak memory of the process, or on a GPU of torch's allocator.
    """

    setup_s: float
    warmup_s: list[float]
    step_s: list[float]
    window_s: float
    cores_of_others: float
    tokens: list[int]
    losses: list[float]
    evaluation_s: list[float]
    peak_memory_bytes: int

    @property
    def tokens_per_second(self) -> float:
        """Target tokens of the measured steps over their seconds."""
        return sum(self.tokens[len(self.warmup_s) :]) / self.window_s


class Training(Metrics):
    """One contender's training.

    Args:
        timing: what the clock measured.
        precision: dtype of the matrix products.
        evaluations: evaluations that the whole recipe makes in the contender's way.
        final_loss: mean loss of the first validation rows after all steps.
    """

    timing: Timing
    precision: str
    evaluations: int
    final_loss: float


class Run(Training):
    """A training as its process reports it.

    Args:
        contender: the contender's name.
        versions: versions of the packages that it needs.
        model_flops: floating-point operations of the measured steps, as MFU counts them: each target token once.
    """

    contender: str
    versions: dict[str, str]
    model_flops: float


class TrainingFigures(Metrics):
    """The figures of one contender over its repeats.

    Args:
        precision: dtype of the matrix products.
        versions: versions of the packages that it needs.
        tokens_per_s: target tokens a second.
        step_s: seconds of a measured step.
        evaluation_s: seconds of an evaluation.
        evaluations: evaluations in the whole recipe.
        estimated_s: seconds of the whole recipe, estimated.
        cores_of_others: cores that other processes kept busy, at most.
        setup_s: seconds from the start of the process to the first step.
        peak_memory_bytes: peak memory.
        model_tflops_per_s: TFLOP/s as MFU counts them.
        mfu: MFU (model FLOPs utilisation): those over the machine's fastest matrix product.
        share_of_floor: how much of a step's time its floor takes; 1 would be as fast as the machine.
        final_loss: mean loss of the first validation rows after all steps.
    """

    precision: str
    versions: dict[str, str]
    tokens_per_s: Spread
    step_s: Spread
    evaluation_s: Spread
    evaluations: int
    estimated_s: Spread
    cores_of_others: float
    setup_s: Spread
    peak_memory_bytes: int
    model_tflops_per_s: Spread
    mfu: Spread
    share_of_floor: Spread
    final_loss: float


class TrainingRatios(Metrics):
    """Ours against a peer; above 1 is in our favour."""

    tokens_per_s: Spread
    recipe: Spread
    memory: float


class TrainingJob(Metrics):
    """What was trained."""

    model: str
    data: str
    rows_train: int
    rows_val: int
    batch_size: int
    total_steps: int
    warmup: int
    steps: int
    repeats: int
    device: str


class TrainingReport(Metrics):
    """Figures, ratios, and the runs behind them, by contender; ``not_run`` has the reasons of those that failed."""

    job: TrainingJob
    machine: Machine
    floor: Floor
    peak_tflops_per_s: float
    contenders: dict[str, TrainingFigures]
    ratios: dict[str, TrainingRatios]
    not_run: dict[str, str]
    runs: dict[str, list[Run]]


class Answering(Metrics):
    """One contender's answers, without the tokens themselves.

    Args:
        contender: the contender's name.
        batch_size: rows at a time.
        precision: dtype of the matrix products.
        versions: versions of the packages that it needs.
        rows: prompts answered.
        tokens: tokens generated.
        seconds: seconds for all rows.
        setup_s: seconds from the start of the process to the first row.
        cores_of_others: cores that other processes kept busy meanwhile.
        peak_memory_bytes: peak memory of the process, or on a GPU of torch's allocator.
    """

    contender: str
    batch_size: int
    precision: str
    versions: dict[str, str]
    rows: int
    tokens: int
    seconds: float
    setup_s: float
    cores_of_others: float
    peak_memory_bytes: int


class Answered(Metrics):
    """One contender's answers as its process reports them: the generated ids of each row."""

    run: Answering
    answers: list[list[int]]


class AnsweringFigures(Metrics):
    """The figures of one contender over its repeats.

    Args:
        precision: dtype of the matrix products.
        versions: versions of the packages that it needs.
        rows_answered: prompts answered; the seconds of fewer than all are scaled to all.
        seconds: seconds for all rows.
        tokens_per_s: tokens a second.
        setup_s: seconds from the start of the process to the first row.
        peak_memory_bytes: peak memory.
        cores_of_others: cores that other processes kept busy, at most.
        same_answers: share of the answers that equal ours to the last token.
    """

    precision: str
    versions: dict[str, str]
    rows_answered: int
    seconds: Spread
    tokens_per_s: Spread
    setup_s: Spread
    peak_memory_bytes: int
    cores_of_others: float
    same_answers: float


class AnsweringRatios(Metrics):
    """Ours against a peer; above 1 is in our favour."""

    speed: Spread
    memory: Spread


class AnsweringJob(Metrics):
    """What was answered."""

    model: str
    data: str
    rows: int
    tokens: int
    repeats: int
    device: str


class AnsweringReport(Metrics):
    """Figures, ratios, and the runs behind them, by contender; ``not_run`` has the reasons of those that failed."""

    job: AnsweringJob
    machine: Machine
    contenders: dict[str, AnsweringFigures]
    ratios: dict[str, AnsweringRatios]
    not_run: dict[str, str]
    runs: dict[str, list[Answering]]
