"""Scoring answers: the judges, the verdicts they give, and the statistics over them. No torch."""
