"""Which dtype matrix products are in."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from stages.gpt2 import runtime

CPU = torch.device("cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/cpuinfo")
def test_a_cpu_has_bf16_if_the_system_says_so():
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")

    assert runtime.has_bf16(CPU) == any(flag in flags.split() for flag in ("avx512_bf16", "amx_bf16"))


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_auto_is_bf16_where_the_cpu_has_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)

    assert runtime.dtype_for("auto", CPU) == expected
    assert runtime.dtype_for("fp32", CPU) == torch.float32
    assert runtime.dtype_for("bf16", CPU) == torch.bfloat16


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]
)
def test_auto_is_bf16_where_the_gpu_has_it(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)

    assert runtime.dtype_for("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize(("dtype", "name"), [(torch.bfloat16, "bf16"), (torch.float32, "fp32")])
def test_names(dtype, name):
    assert runtime.name_of(dtype) == name
