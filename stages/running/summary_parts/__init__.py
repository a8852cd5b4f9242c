"""Parts of the summary, each about one thing, as lines of text."""
