"""Programs for people who work on the project; nothing of the pipeline imports them."""
