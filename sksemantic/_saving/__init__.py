"""Fitted estimators in directories: safetensors, JSON and a model card."""
