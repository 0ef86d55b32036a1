"""What users can do about the activations that are kept between fits."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

from sksemantic._store import activations, tokens


def clear_cache() -> None:
    """Free what is kept between fits: activations, tokenised texts and the backbone.

    Fitted estimators keep the backbone they use; it is freed with the last of them.

    Examples
    --------
    >>> import sksemantic
    >>> sksemantic.clear_cache()
    """
    activations.clear()
    tokens.clear()
    loading = sys.modules.get("sksemantic._backbone.loading")
    if loading is not None:
        loading.release()


@contextmanager
def cache_limits(memory: int | None = None, disk: int | None = None) -> Iterator[None]:
    """Bound, or switch off, what is kept of texts' activations between fits.

    Every fit looks up what the frozen layers below the first tuned one make of a text,
    and the features of the closed-form head, before it computes them. By default an
    eighth of the available memory is used for that, at most 1 GiB, and beyond it
    temporary files that take up to a quarter of the free space, at most 64 GiB. The
    least recently used are dropped first.

    Parameters
    ----------
    memory : int, default=None
        Bytes of main memory; 0 for none, None for as many as before.
    disk : int, default=None
        Bytes of temporary files; 0 for none, None for as many as before.

    Raises
    ------
    ValueError
        If a limit is no number of bytes.

    Examples
    --------
    >>> import sksemantic
    >>> with sksemantic.cache_limits(memory=0, disk=0):
    ...     pass  # fit without keeping anything
    """
    for name, limit in (("memory", memory), ("disk", disk)):
        if limit is not None and not _is_number_of_bytes(limit):
            raise ValueError(
                f"The {name!r} parameter must be a number of bytes, 0 or more, or "
                f"None. Got {limit!r} instead."
            )
    with activations.limited(memory, disk):
        yield


def _is_number_of_bytes(limit: object) -> bool:
    is_number = isinstance(limit, Integral) and not isinstance(limit, bool)
    return is_number and int(limit) >= 0  # type: ignore[call-overload]
