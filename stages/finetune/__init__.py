"""Supervised fine-tuning: prompt styles, batches, the training loop."""
