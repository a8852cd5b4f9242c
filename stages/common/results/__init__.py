"""What each stage writes, one file a stage: its paths, the rows of its files and its metrics."""
