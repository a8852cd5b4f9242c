"""Who holds this machine's GPUs, since when, and who waits for them: `python -m flows.gpus [--json]`."""

from __future__ import annotations

import json
from dataclasses import asdict

from flows import command_line
from stages.common.printable import printable
from stages.running import devices, gpu, gpu_users
from stages.running.arguments import Parser
from stages.running.gpu_users import User


def main() -> None:
    """Print a line for each GPU and each process that waits."""
    parser = Parser(prog="python -m flows.gpus", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    asked = parser.parse_args()
    cards = devices.visible_devices()
    holders = {}
    if cards:
        folder = gpu.lock_folder()
        holders = {uuid: gpu.holder(folder, uuid) for uuid in cards}
        waiting = gpu_users.queue(folder)
    else:
        waiting = []
    if asked.json:
        shown: dict[str, object] = {
            "gpus": [{"gpu": uuid, "holder": _as_dict(holder)} for uuid, holder in holders.items()],
            "waiting": [{**asdict(one.who), "count": one.count, "gpus": list(one.devices)} for one in waiting],
        }
        print(printable(json.dumps(shown, indent=2)))
        return
    lines = [f"{uuid}: {'free' if holder is None else holder}" for uuid, holder in holders.items()]
    lines += [f"waiting, number {n} for {one.count}: {one.who}" for n, one in enumerate(waiting, start=1)]
    print(printable("\n".join(lines or ["no GPU is seen on this machine (CUDA_VISIBLE_DEVICES, nvidia-smi -L)"])))


def _as_dict(holder: User | str | None) -> dict[str, object] | str | None:
    return asdict(holder) if isinstance(holder, User) else holder


if __name__ == "__main__":
    command_line.run(main)
