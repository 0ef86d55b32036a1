"""The state of a fit that several processes do together: the first one keeps it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sksemantic._training.checkpoint import Store, Tree
from sksemantic._training.processes import Processes

if TYPE_CHECKING:
    from sksemantic._training.fitted import FittedModel


class SharedStore:
    """A store that the first process alone opens; all of them read the same of it."""

    def __init__(self, processes: Processes, open_store: Callable[[], Store]) -> None:
        self._processes = processes
        self._store = open_store() if processes.is_first else None

    def read(self, name: str) -> Tree | None:
        """Return what the first process reads."""
        return self._processes.same(self._store.read(name) if self._store else None)

    def write(self, **trees: Tree) -> None:
        """Have the first process write."""
        if self._store is not None:
            self._store.write(**trees)

    def finished(self) -> "tuple[FittedModel, Tree] | None":
        """Return the model that the first process finds."""
        return self._processes.same(self._store.finished() if self._store else None)

    def finish(self, model: "FittedModel", extra: Tree) -> None:
        """Have the first process keep the model."""
        if self._store is not None:
            self._store.finish(model, extra)

    def close(self) -> None:
        """Let other processes have it."""
        if self._store is not None:
            self._store.close()
