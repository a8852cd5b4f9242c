"""The checks of the rows before a training: what can mislead it or its score."""
