"""The model: adapter, backbone, pooling and head."""
