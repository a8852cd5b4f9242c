"""What each stage counts and measures, in one file for each stage. No later stage depends on it."""
