"""The judged runs of a project side by side: where they are found, how they are compared."""
