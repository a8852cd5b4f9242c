"""From the texts of a row to its prompt and its token ids: prompt styles, encoding, and the label mask."""
