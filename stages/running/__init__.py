"""What starts, watches and reports a stage: programs, GPUs, progress, summary, tracking. No result depends on it."""
