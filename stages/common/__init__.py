"""What every stage and the flow share: parameters, paths, records, errors, tracking. No torch."""
