"""How to train: the estimator's parameters, with "auto" resolved."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# Of adapter and head, by whether the backbone is causal. Measured with Gemma 3 270M on
# SST-2, and with MiniLM on SST-2, Rotten Tomatoes, TREC and hutto: for classes a head
# twice as fast is as good, for ratings it is not; a slower one is late.
_AUTO_RATES = {True: (2e-3, 1e-3), False: (4e-3, 1.5e-3)}
# From a closed form: measured on few texts of SST-2 and TREC, and on STS-B.
_GENTLE_RATES = {True: (5e-4, 1e-4), False: (1e-3, 1e-4)}
# A step moves every weight alike: each output of a full matrix gets as many terms as
# there are states, not as the adapter has ranks. Measured on SST-2 with MiniLM.
_OF_FULL_MATRICES = 0.1
# Times an encoder's. Measured with MiniLM on CoNLL-2003 and, the adapter's, W-NUT-16.
_OF_WORDS = (2.5, 2.0)
_FEWEST_EPOCHS = {True: 5, False: 6}
# How much it counts that texts of a class lie together and others apart, and up to how
# many texts of each class in full. Measured with MiniLM on TREC, SST-2, Rotten Tomatoes
# and SMS: few texts gain, many lose. Gemma 3 270M gains nothing.
_CONTRAST = {True: 0.0, False: 1.0}
_CONTRAST_ROWS = 100
# With fewer in all, any two texts have something in common that is not their class.
_FEWEST_CONTRASTED = 32
_MORE_FOR_TARGETS = 1.5  # times the epochs: measured on the hutto ratings with MiniLM
_MOST_EPOCHS = 30
_FEWEST_STEPS = 120
# An encoder's few texts gain from more of both, a causal backbone's do not.
_GENTLE_MOST_EPOCHS = 90
_GENTLE_FEWEST_STEPS = 180


@dataclass(frozen=True)
class Recipe:
    """Rates, epochs and start of one training."""

    lr: float
    head_lr: float
    fewest_epochs: int
    most_epochs: int
    fewest_steps: int
    max_epochs: int | str
    batch_size: int
    head_init: str
    contrast: float | str
    most_contrast: float
    is_gentle: bool
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    callbacks: "Sequence[Any]"
    verbose: int

    @classmethod
    def resolved(
        cls,
        is_causal: bool,
        lr: float | str,
        head_lr: float | str,
        head_init: str,
        contrast: float | str = 0.0,
        *,
        is_pair: bool = False,
        has_words: bool = False,
        has_targets: bool = False,
        has_full_matrices: bool = False,
        is_gentle: bool = False,
        has_linear_probe: bool = True,
        **others: Any,
    ) -> "Recipe":
        """Replace "auto" by what suits the kind of backbone, of texts, and of start.

        With `has_words` every word is labelled, with `has_targets` there are several
        numbers to each text, with `has_full_matrices` the adapter is not of low rank.
        """
        if is_gentle or (head_init == "auto" and is_pair):
            head_init = "linear_probe"
        if head_init == "auto" or (
            head_init == "linear_probe" and not has_linear_probe
        ):
            head_init = "zeros"
        goes_on = head_init == "linear_probe"
        auto_lr, auto_head_lr = (_GENTLE_RATES if goes_on else _AUTO_RATES)[is_causal]
        if has_full_matrices:
            auto_lr *= _OF_FULL_MATRICES
        if has_words and not is_causal:
            auto_lr *= _OF_WORDS[0]
            auto_head_lr *= _OF_WORDS[1]
        is_long = is_gentle and not is_causal
        fewest_epochs = _FEWEST_EPOCHS[is_causal]
        if has_targets:
            fewest_epochs = math.ceil(_MORE_FOR_TARGETS * fewest_epochs)
        return cls(
            is_gentle=is_gentle,
            head_init=head_init,
            contrast=contrast,
            # Pairs of one class have a relation in common, not what they are about.
            most_contrast=0.0 if is_pair else _CONTRAST[is_causal],
            lr=auto_lr if isinstance(lr, str) else lr,
            head_lr=auto_head_lr if isinstance(head_lr, str) else head_lr,
            fewest_epochs=fewest_epochs,
            most_epochs=_GENTLE_MOST_EPOCHS if is_long else _MOST_EPOCHS,
            fewest_steps=_GENTLE_FEWEST_STEPS if is_long else _FEWEST_STEPS,
            **others,
        )

    def n_epochs(self, n_rows: int) -> int:
        """Return `max_epochs`; "auto" gives few texts more epochs, for enough steps."""
        if not isinstance(self.max_epochs, str):
            return int(self.max_epochs)
        epochs = math.ceil(self.fewest_steps / math.ceil(n_rows / self.batch_size))
        return min(max(epochs, self.fewest_epochs), self.most_epochs)

    def contrast_for(self, n_rows: int, n_classes: int) -> float:
        """Return `contrast`; "auto" soon fades with more texts of a class."""
        if not isinstance(self.contrast, str):
            return float(self.contrast)
        if n_rows < _FEWEST_CONTRASTED:
            return 0.0
        share = min(1.0, _CONTRAST_ROWS * n_classes / n_rows)
        return self.most_contrast * share**2
