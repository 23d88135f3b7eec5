"""A turn: one prompt, its answer as it streams, and the row that says how it ended."""
