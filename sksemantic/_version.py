"""The version of the package."""

from importlib.metadata import version

__version__ = "0.1.0.dev0"

_LIBRARIES = ("torch", "transformers", "scikit-learn", "skorch", "numpy")


def library_versions() -> dict[str, str]:
    """Return the versions of what decides the results, this package's first."""
    found = {name: version(name) for name in _LIBRARIES}
    return {"sksemantic": __version__, **found}
