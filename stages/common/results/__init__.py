"""What each stage writes, in one file for each stage: its paths, the rows of its files and its metrics."""
