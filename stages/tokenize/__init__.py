"""How a row of text becomes token ids: its prompt in the model's prompt style, then its response."""
