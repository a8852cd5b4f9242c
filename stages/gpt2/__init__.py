"""GPT-2: network, weights, tokenizer, decoding. Knows nothing of instructions, DVC or MLflow."""
