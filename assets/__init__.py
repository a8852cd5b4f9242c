"""The bundled dataset, and the program that writes it."""
