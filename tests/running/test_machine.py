"""What the machine has."""

from __future__ import annotations

import shutil

import psutil
import torch

from stages.gpt2 import runtime
from stages.running import machine


def test_free_memory_is_no_more_than_the_system_has():
    assert 0 < machine.free_memory() <= psutil.virtual_memory().total


def test_the_disk_of_a_folder_that_is_yet_to_be_made(tmp_path):
    found = machine.free_disk(tmp_path / "a" / "b")

    assert abs(found - shutil.disk_usage(tmp_path).free) < 1 << 30


def test_bf16_is_where_torch_uses_it():
    found = machine.has_bf16()

    assert found is None or found == runtime.has_bf16(torch.device("cpu"))
