"""What the doctor looks at, a module a subject. Each check gives rows (`stages.running.checks.row`)."""
