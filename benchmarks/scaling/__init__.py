"""How time and memory grow with processes, rows, context, model size and judged answers."""
