"""What makes a run again: where it came from, its code and data, a copy of its commit, and what came of it."""
