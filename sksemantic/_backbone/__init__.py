"""The frozen language model: found, loaded, inspected, run behind a prefix."""
