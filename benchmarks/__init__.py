"""Speed and memory beside others', on one machine, in one run. Not part of the pipeline."""
