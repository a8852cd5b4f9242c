"""What every stage and the flow share: errors, files, paths, records, and the results of each stage. No torch."""
