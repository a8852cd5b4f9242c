"""Options that the programs which compare runs share."""

from __future__ import annotations

import argparse

from stages.running.arguments import whole_number


def add_resampling(parser: argparse.ArgumentParser) -> None:
    """Add the options ``--resamples`` and ``--seed`` to a parser."""
    parser.add_argument(
        "--resamples",
        type=whole_number(100),
        default=10_000,
        help="resamples of the bootstrap and the permutation test (10000)",
    )
    parser.add_argument("--seed", type=whole_number(0), default=123, help="seed of both (123)")
