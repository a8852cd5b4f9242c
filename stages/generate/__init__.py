"""generate: an answer to every test prompt, by the base model and the fine-tuned one."""
