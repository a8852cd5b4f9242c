"""The GPU locks, with made-up cards and real processes."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.common.errors import ConfigError, PipelineError
from stages.running import devices, gpu, gpu_users
from tests.root import ROOT

LISTING = """\
GPU 0: NVIDIA H200 (UUID: GPU-aa11)
GPU 1: NVIDIA A100 (UUID: GPU-bb22)
  MIG 1g.10gb     Device  0: (UUID: MIG-c1)
  MIG 1g.10gb     Device  1: (UUID: MIG-c2)
GPU 2: NVIDIA H200 (UUID: GPU-ab33)
"""

HOLD = """
import os, sys
from stages.running import gpu
{before}
with gpu.lease({count}) as cards:
    {inside}
    print("holds", ",".join(cards), os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    sys.stdin.readline()
"""

Holder = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one card, GPU-a, and locks of its own."""
    monkeypatch.setenv("PIPELINE_GPU_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("PIPELINE_GPUS", "GPU-a")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)


@pytest.fixture
def hold() -> Iterator[Holder]:
    """Start a process that leases ``count`` cards and keeps them until it reads a line or dies."""
    started: list[subprocess.Popen[str]] = []

    def start(count: int = 1, *, before: str = "", inside: str = "pass", **environment: str) -> subprocess.Popen[str]:
        program = HOLD.format(count=count, before=before, inside=inside)
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_killed_holder_frees_its_card_for_the_one_that_waits(hold: Holder) -> None:
    first = hold()
    assert line(first) == "holds GPU-a GPU-a"
    second = hold()
    waiting = line(second)
    assert waiting.startswith("waiting for 1 free GPU (GPU-a: process")
    assert str(first.pid) in waiting
    first.send_signal(signal.SIGKILL)
    assert line(second) == "holds GPU-a GPU-a"
    assert first.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    "child",
    [
        'import subprocess; c = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL).pid',
        "c = os.fork()\n    if c == 0:\n        os.close(1); import time; time.sleep(600)",
    ],
    ids=["exec", "fork"],
)
def test_a_child_that_outlives_a_killed_holder_does_not_hold_the_card(hold: Holder, child: str) -> None:
    first = hold(inside=f"{child}; print(c, flush=True)" if "\n" not in child else f"{child}\n    print(c, flush=True)")
    orphan = int(line(first))
    try:
        assert line(first) == "holds GPU-a GPU-a"
        first.send_signal(signal.SIGKILL)
        first.wait()
        os.kill(orphan, 0)
        assert line(hold()) == "holds GPU-a GPU-a"
        os.kill(orphan, 0)
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_one_process_a_card_and_the_card_comes_back(hold: Holder) -> None:
    environment = {"PIPELINE_GPUS": "GPU-a,GPU-b"}
    first = hold(**environment)
    assert line(first) == "holds GPU-a GPU-a"
    second = hold(**environment)
    assert line(second) == "holds GPU-b GPU-b"
    first.communicate("\n")
    third = hold(**environment)
    assert line(third) == "holds GPU-a GPU-a"


def test_several_cards_are_taken_all_or_none(hold: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_GPUS", "GPU-c,GPU-b,GPU-a")
    holder = hold(CUDA_VISIBLE_DEVICES="GPU-c")
    assert line(holder) == "holds GPU-c GPU-c"
    both = hold(3)
    assert line(both).startswith("waiting for 3 free GPUs")
    pair = hold(2)
    assert line(pair) == "holds GPU-a,GPU-b GPU-a,GPU-b", "the one that waits for three holds the two that are free"
    pair.communicate("\n")
    holder.communicate("\n")
    assert line(both) == "holds GPU-a,GPU-b,GPU-c GPU-a,GPU-b,GPU-c"


def test_the_mask_is_narrowed_within_the_block_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_GPUS", "GPU-a,GPU-b,GPU-c")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    with gpu.lease() as cards:
        assert cards == ("GPU-c",)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-c"
        assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
        with pytest.raises(PipelineError, match="already holds GPU-c"), gpu.lease():
            pass
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,0"
    assert "CUDA_DEVICE_ORDER" not in os.environ
    assert gpu.last_lease() == ("GPU-c",)


@pytest.mark.parametrize(
    ("mask", "seen"),
    [
        (None, ["GPU-aa11", "MIG-c1", "MIG-c2", "GPU-ab33"]),
        ("2,0", ["GPU-ab33", "GPU-aa11"]),
        ("1", ["MIG-c1", "MIG-c2"]),
        ("MIG-c2,GPU-ab", ["MIG-c2", "GPU-ab33"]),
        ("GPU-aa11,0", ["GPU-aa11"]),
        ("0,-1,2", ["GPU-aa11"]),
        ("-1", []),
        ("", []),
    ],
)
def test_a_mask_is_read_as_cuda_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: str | None, seen: list[str]
) -> None:
    fake_nvidia_smi(tmp_path, monkeypatch, f"cat <<'E'\n{LISTING}E")
    if mask is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mask)
    assert devices.visible_devices() == seen


@pytest.mark.parametrize(("mask", "what"), [("3", "'3' is not"), ("GPU-zz", "'GPU-zz' is not"), ("GPU-a", "more than")])
def test_a_mask_that_names_no_card_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: str, what: str
) -> None:
    fake_nvidia_smi(tmp_path, monkeypatch, f"cat <<'E'\n{LISTING}E")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mask)
    with pytest.raises(ConfigError, match=what):
        devices.visible_devices()


def test_without_a_gpu_a_lease_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PIPELINE_GPUS")
    monkeypatch.setenv("PATH", str(tmp_path))
    with gpu.lease(4) as cards:
        assert cards == ()
        assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert not (tmp_path / "locks").exists()
    assert capsys.readouterr().out == ""


def test_a_driver_that_does_not_answer_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_nvidia_smi(tmp_path, monkeypatch, "echo no driver; exit 9")
    with gpu.lease() as cards:
        assert cards == ()
    assert "nvidia-smi says: no driver" in capsys.readouterr().out


def test_more_cards_than_there_are_is_a_mistake_and_not_a_wait() -> None:
    with pytest.raises(ConfigError, match="2 GPUs are needed, and 1 can be seen: GPU-a"), gpu.lease(2):
        pass


def test_a_lease_after_cuda_has_started_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cuda:
        @staticmethod
        def is_initialized() -> bool:
            return True

    class Torch:
        cuda = Cuda

    monkeypatch.setitem(sys.modules, "torch", Torch)
    with pytest.raises(PipelineError, match="after torch had started CUDA"), gpu.lease():
        pass


def test_every_user_can_lock_in_the_folder(tmp_path: Path) -> None:
    with gpu.lease():
        pass
    folder = tmp_path / "locks"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE((folder / "GPU-a.lock").stat().st_mode) == 0o666


def test_a_lock_folder_that_is_a_file_or_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "locks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="set PIPELINE_GPU_LOCKS"), gpu.lease():
        pass


def test_a_lock_file_that_cannot_be_written_to_is_locked_all_the_same(tmp_path: Path, hold: Holder) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with gpu.lease() as cards:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert cards == ("GPU-a",)
            assert (tmp_path / "locks" / "GPU-a.lock").read_text() == ""
            waiting = hold()
            assert line(waiting) == "waiting for 1 free GPU (GPU-a: held)"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert line(waiting) == "holds GPU-a GPU-a"


def test_a_place_on_a_file_system_without_locks_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(gpu_users, "try_lock", refuse)
    before = len(list(Path("/proc/self/fd").iterdir()))
    place = gpu_users.Place(tmp_path, gpu_users.this_process(), 1, ["GPU-a"])
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert place.before() == []
    place.leave()


def test_an_interruption_while_the_lock_file_is_written_to_releases_the_card(
    monkeypatch: pytest.MonkeyPatch, hold: Holder
) -> None:
    class Interrupted:
        @property
        def __spec__(self) -> None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "__main__", Interrupted())  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt), gpu.lease():
            pass
    assert line(hold()) == "holds GPU-a GPU-a"


def fake_nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("PIPELINE_GPUS")


def test_who_waits_is_told_its_position_and_served_in_order(tmp_path: Path, hold: Holder) -> None:
    first = hold(PIPELINE_RUN_NAME="one")
    assert line(first) == "holds GPU-a GPU-a"
    second = hold(PIPELINE_RUN_NAME="two")
    said = line(second)
    assert said.startswith(f"waiting for 1 free GPU (GPU-a: process {first.pid}: ")
    assert ", run one (flow), " in said
    third = hold(PIPELINE_RUN_NAME="three")
    assert line(third).startswith("waiting for 1 free GPU, 1 run is before this one (GPU-a: process ")
    fourth = hold(PIPELINE_RUN_NAME="four")
    assert line(fourth).startswith("waiting for 1 free GPU, 2 runs are before this one (GPU-a: process ")

    found = gpu.holder(tmp_path / "locks", "GPU-a")
    assert isinstance(found, gpu.User)
    assert (found.run, found.process) == ("one", first.pid)
    queue = gpu_users.queue(tmp_path / "locks")
    assert [(one.who.run, one.who.process, one.count) for one in queue] == [
        ("two", second.pid, 1),
        ("three", third.pid, 1),
        ("four", fourth.pid, 1),
    ]

    third.send_signal(signal.SIGKILL)  # it leaves the queue
    assert line(fourth).startswith("waiting for 1 free GPU, 1 run is before this one (GPU-a: process ")
    first.send_signal(signal.SIGKILL)
    assert line(second) == "holds GPU-a GPU-a"
    assert line(fourth).startswith(f"waiting for 1 free GPU (GPU-a: process {second.pid}: ")
    second.communicate("\n")
    assert line(fourth) == "holds GPU-a GPU-a"
    assert gpu_users.queue(tmp_path / "locks") == []
    fourth.communicate("\n")
    assert gpu.holder(tmp_path / "locks", "GPU-a") is None
    assert list((tmp_path / "locks" / "queue").iterdir()) == []


def test_a_free_card_that_is_left_to_an_earlier_waiter_is_told_as_free(hold: Holder) -> None:
    first = hold()
    assert line(first) == "holds GPU-a GPU-a"
    second = hold()
    assert line(second).startswith("waiting for 1 free GPU (GPU-a: process ")
    second.send_signal(signal.SIGSTOP)  # it is there, and does not take its card
    third = hold()
    assert line(third).startswith("waiting for 1 free GPU, 1 run is before this one (GPU-a: process ")
    first.communicate("\n")
    told = "waiting for 1 free GPU, 1 run is before this one (GPU-a: free, and left to the run before this one)"
    assert line(third) == told
    second.send_signal(signal.SIGKILL)
    assert line(third) == "holds GPU-a GPU-a"


def test_a_card_that_is_free_and_not_enough_is_told_as_free(hold: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_GPUS", "GPU-a,GPU-b")
    first = hold()
    assert line(first) == "holds GPU-a GPU-a"
    both = line(hold(2))
    assert both.startswith(f"waiting for 2 free GPUs (GPU-a: process {first.pid}: ")
    assert both.endswith("; GPU-b: free)")


def test_the_command_lists_holders_and_who_waits(hold: Holder) -> None:
    def listed(*arguments: str) -> str:
        command = [sys.executable, "-m", "flows.gpus", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout

    assert listed() == "GPU-a: free\n"
    first = hold(PIPELINE_RUN_NAME="one")
    line(first)
    second = hold(PIPELINE_RUN_NAME="two")
    line(second)
    holder, waiting = listed().splitlines()
    assert holder.startswith(f"GPU-a: process {first.pid}: ")
    assert ", run one (flow), " in holder
    assert waiting.startswith(f"waiting, number 1 for 1: process {second.pid}: ")
    found = json.loads(listed("--json"))
    assert found["gpus"][0]["holder"]["run"] == "one"
    assert [(one["run"], one["count"], one["gpus"]) for one in found["waiting"]] == [("two", 1, ["GPU-a"])]


def test_a_text_that_another_user_may_have_written_breaks_nothing(tmp_path: Path, hold: Holder) -> None:
    first = hold()
    line(first)
    (tmp_path / "locks" / "GPU-a.lock").write_text('{"process": "x"}\x1b[2J')
    assert line(hold()) == "waiting for 1 free GPU (GPU-a: held)"
    assert gpu.holder(tmp_path / "locks", "GPU-a") == "unknown"
