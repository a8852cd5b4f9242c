"""What is looked at before a run, and by the doctor: rows of one type, and who is asked for them."""
