"""The kinds of target: how each is encoded, trained, compared and decoded."""
