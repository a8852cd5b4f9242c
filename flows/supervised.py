"""The program of a flow in a process of its own, which `flows.run` and `flows.seeds` start.

`python -m flows.supervised` takes the options of both, and ends when its standard input closes. What it
does is in `flows.flow_process`, a module apart, which loads Prefect.
"""

from __future__ import annotations

from flows import command_line
from stages.running import loading, quick_end


def main() -> None:
    """Load what a flow needs, and run it; errors as `flow_process.main`."""
    with loading.without_collector():
        from flows import flow_process

    flow_process.main()


if __name__ == "__main__":
    with quick_end.after():
        command_line.run(main)
