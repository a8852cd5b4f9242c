"""Grading answers by hand: which ones, in MLflow's review queue or in the terminal, and the file that comes of it."""
