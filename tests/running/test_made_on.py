"""What a run is made on, and how that of two runs is told apart."""

from __future__ import annotations

import platform

import pytest
import torch

from stages.running import made_on

THEN = {
    "python": "3.12.1",
    "system": "Linux x86_64",
    "processor": "Xeon 1",
    "units": ["avx2", "fma"],
    "capability": "AVX2",
    "threads": 4,
    "packages": {"torch": "2.1", "numpy": "2.0", "a": "1", "b": "1"},
}


def test_the_kernels_and_threads_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    here = made_on.here()
    assert here["capability"] == torch.backends.cpu.get_cpu_capability()
    assert (here["python"], here["packages"]["torch"]) == (platform.python_version(), torch.__version__)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert (made_on.here()["threads"], made_on.here()["capability"]) == (3, "DEFAULT")


def test_gpus_are_counted_and_a_mask_that_names_none_of_them_leaves_them_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIPELINE_GPUS", "GPU-1,GPU-2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert made_on.here()["gpus"] == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert made_on.here()["gpus"] == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert made_on.here()["gpus"] is None


def test_nothing_differs_from_itself() -> None:
    assert made_on.differences(THEN, THEN) == []


def test_each_difference_is_a_line_and_packages_that_compute_come_first() -> None:
    now = THEN | {
        "python": "3.13.0",
        "capability": "AVX512",
        "units": ["avx2", "avx512f"],
        "threads": 2,
        "packages": {"torch": "2.2", "numpy": "2.0", "a": "2", "c": "1"},
    }
    assert made_on.differences(THEN, now) == [
        "Python 3.12.1 → 3.13.0",
        "kernels of torch AVX2 → AVX512",
        "threads 4 → 2",
        "units of the processor -fma +avx512f",
        "torch 2.1 → 2.2",
        "other packages: a 1 → 2, b 1 → none, c none → 1",
    ]


def test_what_an_earlier_version_did_not_keep_is_not_compared() -> None:
    assert made_on.differences({"python": "3.12.1"}, THEN | {"threads": 9}) == []
