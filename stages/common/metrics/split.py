"""What the stage split counts and measures: its metrics.json."""

from __future__ import annotations

from stages.common.records import Metrics


class Repeated(Metrics):
    """Groups of equal rows: their number, and the number of rows beyond the first of each group."""

    groups: int
    rows_beyond_first: int


class RepeatedPrompts(Repeated):
    """Groups of rows with equal instruction and input, and the number of groups whose outputs differ."""

    groups_with_different_outputs: int


class AlsoInTrain(Metrics):
    """The rows of a split whose instruction and input occur in train."""

    count: int
    ids: list[str]


class Lengths(Metrics):
    """Lengths in characters."""

    mean: float
    median: float
    longest: int


class TextLengths(Metrics):
    """The lengths of a split's prompts (instruction and input) and outputs."""

    prompt: Lengths
    output: Lengths


class SplitMetrics(Metrics):
    """The census of the dataset's rows, by split.

    Args:
        rows: number of rows in each split, and in ``all``.
        repeated_rows: rows equal in instruction, input and output.
        repeated_prompts: rows equal in instruction and input.
        prompts_also_in_train: rows of test and val whose instruction and input occur in train.
        within_splits: rows of each split whose instruction and input have occurred earlier in that split.
        characters: text lengths, by split.
        categories: rows of each category, by split.
        placeholders: ids of rows whose input or output is a word for "nothing", such as ``N/A``, by split; absent where
            there are none.
        template_markers: ids of rows whose texts hold the heading of an answer, by split; absent where there are none.
    """

    rows: dict[str, int]
    repeated_rows: Repeated
    repeated_prompts: RepeatedPrompts
    prompts_also_in_train: dict[str, AlsoInTrain]
    within_splits: dict[str, int]
    characters: dict[str, TextLengths]
    categories: dict[str, dict[str, int]]
    placeholders: dict[str, list[str]] | None = None
    template_markers: dict[str, list[str]] | None = None
