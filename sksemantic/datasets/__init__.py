"""A small set of labelled texts to try the estimators on, without a network."""

from sksemantic.datasets._definitions import load_definitions

__all__ = ["load_definitions"]
