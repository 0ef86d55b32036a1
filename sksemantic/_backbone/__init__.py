"""The frozen language model: its weights, its layers, and its prefix."""
