"""The schema of params.yaml: section.py is the base, one file for each stage's section, whole.py all of them."""
