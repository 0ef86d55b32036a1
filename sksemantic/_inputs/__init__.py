"""From the user's texts to batches of tokens."""
