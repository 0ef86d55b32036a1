"""What a fit says where it cannot end well."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_OF_TORCH = "can't allocate memory"  # its allocator's words for the CPU


@contextmanager
def explained_faults() -> Iterator[None]:
    """Say what an interrupted fit leaves, and what to do if memory runs out.

    Raises
    ------
    MemoryError
        In place of torch's errors for that.
    """
    try:
        yield
    except KeyboardInterrupt as exc:
        exc.add_note("The fit was interrupted: the estimator is as it was before.")
        raise
    except (MemoryError, RuntimeError, OSError) as exc:
        if not _is_out_of_memory(exc):
            raise
        raise MemoryError(
            f"Memory ran out: {exc}. The estimator is as it was before. Less is needed "
            "with a smaller 'batch_size' or 'max_length', a smaller 'model', "
            "model_kwargs={'dtype': 'bfloat16'}, or, for what is kept between fits, "
            "inside sksemantic.cache_limits(memory=0)."
        ) from exc


def _is_out_of_memory(error: Exception) -> bool:
    kinds = (MemoryError, torch.cuda.OutOfMemoryError)
    is_mapping = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return is_mapping or isinstance(error, kinds) or _OF_TORCH in str(error)
