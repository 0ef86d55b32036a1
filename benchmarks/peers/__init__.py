"""What a user would try first: the peers. Nothing here imports sksemantic."""
