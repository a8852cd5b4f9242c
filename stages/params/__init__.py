"""The schema of params.yaml: one file a section, and the whole."""
