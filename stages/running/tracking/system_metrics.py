"""How busy the machine is while a stage works: CPU, memory and the stage's GPUs, by MLflow's names ``system/...``.

MLflow's own sampler needs a run of its fluent interface, and shows all GPUs of a machine, other users' too. This one
takes a sample from the thread that sends metrics. It obeys MLflow's variables MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING,
which is true here unless it is set, and MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence

import psutil

from stages.running import environment, gpu

#: MLflow's variable that switches it off.
ENABLED = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
#: Seconds between two samples, as in MLflow.
_SECONDS = 10.0
#: A rate over less than this says little.
_LEAST_SECONDS = 1.0
_NVIDIA_SMI_SECONDS = 5.0
_FIELDS = ("uuid", "utilization.gpu", "memory.used", "memory.total", "power.draw")
_MEGA = 1e6


def wanted() -> bool:
    """Whether samples are to be taken; only ``false`` and ``0`` say no."""
    return os.environ.get(ENABLED, "true").strip().lower() not in ("false", "0")


class Sampler:
    """Takes samples of this machine, all in one thread. The first one covers the time since it was asked first.

    Raises:
        ConfigError: the interval is no number of seconds.
    """

    def __init__(self) -> None:
        self._interval = environment.seconds("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", _SECONDS)
        self._process = psutil.Process()
        self._at: float | None = None
        self._steps = 0
        self._cards = True

    def due(self, *, last: bool = False) -> list[tuple[str, float, int, int]]:
        """A sample, if the last one is long enough ago.

        Args:
            last: whether there will be no other.

        Returns:
            Name, value, milliseconds since 1970, and number of the sample, of each metric; none where it is too early.
        """
        if self._at is None:
            self._at = time.monotonic()
            psutil.cpu_percent()  # which counts from here on, and for each thread by itself
            return []
        passed = time.monotonic() - self._at
        if passed < (_LEAST_SECONDS if last or not self._steps else self._interval):
            return []
        self._at = time.monotonic()
        now, step = time.time_ns() // 1_000_000, self._steps
        self._steps += 1
        return [(f"system/{name}", value, now, step) for name, value in self._sample().items()]

    def _sample(self) -> dict[str, float]:
        memory = psutil.virtual_memory()
        return {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / _MEGA,
            "system_memory_usage_percentage": memory.percent,
            "process_memory_megabytes": self._process.memory_info().rss / _MEGA,
            **self._of_cards(gpu.last_lease()),
        }

    def _of_cards(self, cards: Sequence[str]) -> dict[str, float]:
        """What nvidia-smi says of the GPUs that the stage holds; once it has failed it is not asked again."""
        if not cards or not self._cards:
            return {}
        command = ["nvidia-smi", f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_NVIDIA_SMI_SECONDS)
        except (OSError, subprocess.SubprocessError):
            self._cards = False
            return {}
        return of_cards(done.stdout, cards)


def of_cards(listed: str, cards: Sequence[str]) -> dict[str, float]:
    """The metrics of GPUs, which are counted in the order of ``cards``.

    Args:
        listed: what nvidia-smi prints of all cards: UUID, utilisation in percent, memory used and of the card in MiB,
            and watts; a figure that a card does not know is no number.
        cards: UUIDs of the GPUs.

    >>> of_cards("GPU-a, 40, 1000, 80000, [N/A]", ["GPU-a"])["gpu_0_utilization_percentage"]
    40.0
    """
    lines = [[one.strip() for one in line.split(",")] for line in listed.splitlines()]
    rows = {fields[0]: fields[1:] for fields in lines}
    found: dict[str, float] = {}
    for number, card in enumerate(cards):
        if len(rows.get(card, [])) != len(_FIELDS) - 1:
            continue  # a MIG instance, which nvidia-smi lists no figures of
        busy, used, total, watts = map(_number, rows[card])
        known = {
            "utilization_percentage": busy,
            "memory_usage_megabytes": used and used * 2**20 / _MEGA,
            "memory_usage_percentage": 100 * used / total if used is not None and total else None,
            "power_usage_watts": watts,
        }
        found |= {f"gpu_{number}_{name}": value for name, value in known.items() if value is not None}
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
