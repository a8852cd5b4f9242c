"""A user's dataset in the format that it has: file formats, and what their rows hold."""
