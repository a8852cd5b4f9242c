"""The costs of a fine-tuning: work, time, memory and disk space, estimated and measured. No result depends on them."""
