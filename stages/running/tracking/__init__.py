"""MLflow: one flat run a pipeline execution, mirrored from files that are complete without it."""
