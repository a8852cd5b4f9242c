"""The statistics of verdicts: means with intervals, differences, categories, faults, and human labels."""
