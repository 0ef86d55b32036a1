"""Prediction inside engines that bring many rows to many workers."""
