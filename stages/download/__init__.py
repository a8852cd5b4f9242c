"""What comes from outside: the dataset, a GPT-2 and its tokenizer's files."""
