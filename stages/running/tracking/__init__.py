"""MLflow: one flat run for each execution of the pipeline, mirrored from files that are complete without it."""
