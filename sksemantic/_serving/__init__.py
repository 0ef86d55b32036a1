"""Serving fitted estimators over HTTP."""
