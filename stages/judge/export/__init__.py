"""A tuned model as other programs take it, with a proof that it answers there as it did here; no part of a stage."""
