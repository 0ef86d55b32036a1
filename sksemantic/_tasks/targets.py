"""What y says, encoded for training."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._tasks.base import Task


@dataclass(frozen=True)
class Targets:
    """What y says.

    Attributes
    ----------
    task : Task
    values : ndarray
        The targets that the model is trained on, of the labelled texts.
    weights : ndarray or None
        Of the labelled texts, class weights included.
    labelled : ndarray or None
        Which texts have a label, as indices; None if all have.
    label_texts : list of list of str or None
        The texts of each label.
    """

    task: "Task"
    values: "NDArray"
    weights: "NDArray | None" = None
    labelled: "NDArray | None" = None
    label_texts: list[list[str]] | None = None
