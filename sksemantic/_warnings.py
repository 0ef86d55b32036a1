"""Where a warning points to."""

import sys

_OUR_PACKAGES = ("sksemantic", "sklearn", "skorch", "joblib")


def user_stacklevel() -> int:
    """Return the stacklevel that points a warning at the line outside this package."""
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
        level += 1
    return level


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in _OUR_PACKAGES
