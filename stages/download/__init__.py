"""What comes from outside: the dataset, published weights, the BPE files; and how the dataset's rows are divided."""
