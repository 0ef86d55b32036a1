"""The processes that train one estimator together, and what they tell one another.

All have the same texts, and all come to the same result. Each runs the backbone over
its share of the texts; what the others have made of theirs is gathered. What a clock or
an optimiser on one machine decides is decided by the first process.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from torch import Tensor, nn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sksemantic._inputs.dataset import TextDataset

Value = TypeVar("Value")


class Processes:
    """One process alone: it has all texts, and there is nothing to exchange.

    Attributes
    ----------
    rank, size : int
        Which process this is, and of how many.
    """

    rank = 0
    size = 1

    @property
    def is_first(self) -> bool:
        """Whether it is the process that decides, writes and shows."""
        return self.rank == 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Begin and end a fit with all processes; fail if another one does."""
        yield

    def share(self, things: range, rank: int | None = None) -> range:
        """Return the things that are this process's, or another's: one after another.

        One process alone has them all.
        """
        rank = self.rank if rank is None else rank
        first, end = (len(things) * r // self.size for r in (rank, rank + 1))
        return things[first:end]

    def share_of_memory(self, n_bytes: int) -> int:
        """Return how many of these bytes of the machine are for this process."""
        return n_bytes

    def read(
        self, compute: "Callable[[TextDataset], NDArray]", data: "TextDataset"
    ) -> "NDArray":
        """Return what is computed of all texts (n_rows, C)."""
        return compute(data)

    def gather(self, rows: Tensor, counts: list[int]) -> Tensor:
        """Return the rows (n, C) of all processes, which have so many each.

        Their gradient comes back to the rows of this process alone.
        """
        return rows

    def sum_gradients(self, module: nn.Module, loss: Tensor) -> Tensor:
        """Give all processes the sum of their gradients; return that of their losses.

        All of it is one exchange.
        """
        return loss

    def same_weights(self, module: nn.Module) -> None:
        """Give all processes the weights of the first."""

    def same(self, value: Value) -> Value:
        """Return the value of the first process."""
        return value

    def same_source(self, source: "np.random.RandomState") -> "np.random.RandomState":
        """Return a source of chance that is as the first process's is now."""
        return source

    def check_alike(self, find_facts: Callable[[], Mapping[str, str]]) -> None:
        """Refuse to begin where the processes were called with different things.

        Raises
        ------
        ValueError
        """


ALONE = Processes()
