"""The bundled instruction dataset: hand-written tables and the script that deals them into rows."""
