"""The judges: their contract, how one is opened, and one module for each backend."""
