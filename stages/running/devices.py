"""Which GPUs a process may use: those of the machine, within CUDA_VISIBLE_DEVICES.

PIPELINE_GPUS, UUIDs separated by commas, stands in for what nvidia-smi lists.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence

from stages.common.errors import ConfigError
from stages.running.console import say

#: Seconds that nvidia-smi may take. The driver of a machine that has just started needs several.
_NVIDIA_SMI_TIMEOUT = 60


def visible_devices() -> list[str]:
    """UUIDs of the GPUs that this process may use: the machine's, within CUDA_VISIBLE_DEVICES.

    Raises:
        ConfigError: the mask names a card that is not there.
    """
    mask = os.environ.get("CUDA_VISIBLE_DEVICES")
    if mask is not None and not mask.strip():
        return []
    listed = os.environ.get("PIPELINE_GPUS")
    if listed is None:
        devices = _devices_of_nvidia_smi()
    else:
        devices = [[name.strip()] for name in listed.split(",") if name.strip()]
    return _within(devices, mask) if devices else []


def _devices_of_nvidia_smi() -> list[list[str]]:
    """The UUIDs of every card, in the order of the PCI bus: its own, or those of its MIG instances."""
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_NVIDIA_SMI_TIMEOUT, check=False
        )
    except FileNotFoundError:
        return []
    except (OSError, subprocess.TimeoutExpired) as error:
        late = f"no answer within {_NVIDIA_SMI_TIMEOUT:g} s"
        reason = (error.strerror or "it does not start") if isinstance(error, OSError) else late
        raise ConfigError(
            f"nvidia-smi cannot be asked for the GPUs: {reason}", "set CUDA_VISIBLE_DEVICES= for none"
        ) from None
    if listing.returncode:
        say(f"no GPU is used: nvidia-smi says: {(listing.stdout + listing.stderr).strip()}")
        return []
    return parse_listing(listing.stdout)


def parse_listing(listing: str) -> list[list[str]]:
    """The UUIDs in the output of ``nvidia-smi -L``, by card.

    ``GPU 0: NVIDIA H200 (UUID: GPU-5f)`` gives ``[["GPU-5f"]]``. A card that is cut into MIG instances gives theirs
    instead of its own, since CUDA then does not compute on the card itself. They follow it on lines of their own.
    """
    cards: list[list[str]] = []
    for line in listing.splitlines():
        found = re.search(r"\(UUID: ((GPU|MIG)-[^)\s]+)\)", line)
        if not found:
            continue
        uuid, kind = found.groups()
        if kind == "GPU":
            cards.append([uuid])
        elif cards:
            cards[-1] = [*(other for other in cards[-1] if other.startswith("MIG-")), uuid]
    return cards


def _within(cards: Sequence[Sequence[str]], mask: str | None) -> list[str]:
    """The UUIDs that a mask names, in the mask's order.

    Entries are indices in PCI order, UUIDs, or the start of a UUID. As in CUDA, -1 ends the list.
    """
    if mask is None:
        return [uuid for card in cards for uuid in card]
    chosen: list[str] = []
    for entry in (part.strip() for part in mask.split(",")):
        if entry in ("-1", "NoDevFiles"):
            break
        if entry.isdigit():
            found = list(cards[int(entry)]) if int(entry) < len(cards) else []
        else:
            found = [uuid for card in cards for uuid in card if entry and uuid.startswith(entry)]
        if not found or (not entry.isdigit() and len(found) > 1):
            there = ", ".join(uuid for card in cards for uuid in card)
            what = "more than" if found else "not"
            raise ConfigError(
                f"CUDA_VISIBLE_DEVICES={mask}: {entry!r} is {what} one of this machine's GPUs ({there})",
                "name cards by index or UUID, or set CUDA_VISIBLE_DEVICES= for none",
            )
        chosen += [uuid for uuid in found if uuid not in chosen]
    return chosen
