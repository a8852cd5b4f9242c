"""The report of a run: one page of HTML that a person reads, keeps and sends on. It is no part of a stage."""
