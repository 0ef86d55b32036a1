"""Every number of the training, in one frozen dataclass with named presets."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sksemantic._tasks.linear_probe_config import LinearProbeConfig


@dataclass(frozen=True)
class TrainingConfig:
    """How an estimator trains: every rate, share, rank and threshold.

    The estimators choose a preset by the backbone and the task, replace in it what the
    `training` parameter says, and keep the result as ``config_.training``. The defaults
    are those for one text a row and an encoder. `lr`, `batch_size`, `max_epochs`,
    `early_stopping`, `time_limit` and `verbose` are parameters of the estimator, and no
    keys of `training`.

    Attributes
    ----------
    objective : {"task", "contrast"}, default="task"
        What the training minimises. "contrast": first the texts of a class are drawn
        together, by the supervised contrastive loss alone, then the head is fitted to
        what the trained model makes of them, a logistic regression on features of
        length one; ordered classes have one for each step. Only for classes, of texts
        or words, and not in `partial_fit`. It is the default with few texts, see
        `contrast_first_texts` and `contrast_first_sentences`.
    contrast_first_texts : int, default=32
        Texts of a class, on average, up to which "contrast" is the default. Measured
        with MiniLM on SST-2: with 32 as good as "task" in two draws, in a fifth of the
        time; with 100 worse. On five ordered classes of hutto, with 8 and 16, better.
    contrast_first_sentences : int, default=20
        Texts with labelled words up to which "contrast" is the default of an encoder.
        Measured with MiniLM on 5, 10 and 20 sentences of CoNLL-2003: as good as "task"
        on average, in less than half of the time; so it is with 50, in two draws that
        differ by more.
    contrast_temperature : float, default=0.1
        What the cosines are divided by in that loss.
    cool_down_below : float, default=1.0
        That loss, above the lowest possible one, below which the learning rates begin
        to fall. Measured with MiniLM on SST-2, TREC and SMS: more steps are worse.
    cool_down_steps : int, default=4
        Steps in which they fall to zero; then the training is over.
    lr : float, default=4e-3
        Learning rate of the adapter and the text adapter. Measured with MiniLM on
        SST-2, Rotten Tomatoes, TREC and hutto; causal: 2e-3, with Gemma 3 270M on
        SST-2.
    head_lr : float, default=1.5e-3
        Learning rate of the head. Measured with it: for classes a head twice as fast is
        as good, for ratings it is not. Causal: 1e-3.
    weight_decay : float, default=0.0
        Of AdamW.
    max_gradient_norm : float, default=1.0
        Gradients are clipped to this norm.
    warmup : float, default=0.06
        Share of the training in which the learning rates rise; then they fall linearly
        to zero.
    average_from : float, default=1/3
        Share of the training after which the weights of all steps are averaged; 1 for
        no average.
    dropout : float, default=0.3
        Share of the features set to zero before the head while training.
    batch_size : int, default=32
        Texts of one step; the estimator's parameter.
    max_epochs : int or "auto", default="auto"
        The estimator's parameter; "auto" takes as many epochs as make `min_steps`,
        within the next two.
    min_epochs : int, default=6
        Causal: 5; several targets: half as many more, measured on the hutto ratings
        with MiniLM.
    most_epochs : int, default=30
        With few labels and an encoder: 90.
    min_steps : int, default=120
        With few labels and an encoder: 180; a causal model gains nothing from more.
    head_init : {"zeros", "random", "linear_probe"}, default="zeros"
        How the head starts. Pairs and few labels start from the linear probe, at lower
        learning rates, measured on STS-B, and on few texts of SST-2 and TREC.
    contrast : float, default=1.0
        Weight of the contrast of two texts beside the task's loss. The default fades
        with more texts, see `contrast_texts`; a value that is passed explicitly is used
        as it is. Only for classes without an order. Measured with MiniLM on TREC,
        SST-2, Rotten Tomatoes and SMS: few texts gain, many lose. Causal: 0, Gemma 3
        270M gains nothing; pairs: 0, their texts have a relation in common.
    contrast_texts : int, default=100
        Texts of a class up to which the default of `contrast` counts in full; with more
        it fades with the square of their number.
    min_contrast_texts : int, default=32
        With fewer in all the default of `contrast` is 0: any two of them have something
        in common that is not their class.
    text_rank : int, default=4
        Rank of the text adapter, which changes the text's own states where they leave a
        tuned layer; 0 for none. Measured with MiniLM and Gemma 3 270M.
    frozen_share : float, default=0.0
        Share of the lower layers that get no trained prefix. Causal: 1/3, as good as
        all with Gemma 3 270M in two thirds of the time; with MiniLM the uppermost
        layer alone costs six points.
    pooling : {"auto", "mean", "last", "first"}, default="auto"
        What of a text the head reads: "auto" is the last token of causal models, and
        the mean of others.
    validation_fraction : float, default=0.1
        Share of the texts that are held out.
    min_validation_texts : int, default=100
        Texts held out at least, if that is not more than `max_validation_share`.
        Two models cannot be compared on fewer. Not with early stopping.
    max_validation_share : float, default=1/3
    max_validation_texts : int, default=10_000
        More would not make the comparison any clearer. Not with early stopping.
    max_probe_rows : int, default=30_000
        Rows that the linear probe is fitted on at most: it learns next to nothing from
        more, and their features would be the longest part of a fit.
    join_after : float, default=1/2
        Share of the epochs after which the trained model, with the weights of that
        step, is compared with the linear probe. If the linear probe is not clearly
        better, the held-out texts join the training; else they are never trained on.
    clearly_better : float, default=2.0
        Standard errors by which the linear probe must be ahead to be kept.
    temperature : float, default=2.5
        What the temperature of the probabilities is taken for before any held-out text
        is looked at. Measured with MiniLM on SST-2, TREC, Rotten Tomatoes and SMS.
    temperature_weight : float, default=4.0
        Weight of that beside the log-loss of the held-out rows.
    max_calibration_texts : int, default=200
        Training texts by which the growth of the scores is measured.
    early_stopping : bool, default=False
        The estimator's parameter: whether the texts stay held out, and the epoch with
        the lowest `valid_loss` on them is restored. With few labels no text is held
        out, and nothing is watched.
    n_iter_no_change : int, default=3
        Epochs without a lower `valid_loss` before early stopping.
    few_labels : int, default=200
        With `label_texts` and fewer labelled texts than this, none is held out, and
        training starts from the linear probe.
    min_texts_per_class : int, default=4
        With `label_texts` and fewer labelled texts a class there is no training at all.
    enough_texts_per_class : int, default=8
        Labelled texts a class, on average, from which a causal model does without
        `label_texts`, if every class has one. Measured with Gemma 3 270M: with eight
        the uppermost layers, which label texts need, cost six points on TREC, and
        nothing on SST-2. With four they cost eight on TREC, but without label texts
        some draws of SST-2 are hardly better than chance.
    linear_probe : LinearProbeConfig
        How the linear probe is fitted; not a part of the `training` parameter.
    checkpoint_seconds : float, default=120.0
        Seconds between two savings within an epoch, with a `checkpoint_dir`; the state
        is also saved after each epoch.
    processes : {"one", "all"}, default="one"
        Which of the processes that were started together do a fit: each one a fit of
        its own, or all of them one, of which each reads its share of the texts. The
        trained model is the same, and this is not saved with it.
    callbacks : tuple, default=()
        Callbacks of skorch, added to the estimator's own. Held-out texts then do not
        join.
    time_limit : float, default=None
        The estimator's parameter.
    verbose : int, default=0
        The estimator's parameter.
    """

    __module__ = "sksemantic"  # where users find it

    objective: str = "task"
    contrast_first_texts: int = 32
    contrast_first_sentences: int = 20
    contrast_temperature: float = 0.1
    cool_down_below: float = 1.0
    cool_down_steps: int = 4
    lr: float = 4e-3
    head_lr: float = 1.5e-3
    weight_decay: float = 0.0
    max_gradient_norm: float = 1.0
    warmup: float = 0.06
    average_from: float = 1 / 3
    dropout: float = 0.3
    batch_size: int = 32
    max_epochs: int | str = "auto"
    min_epochs: int = 6
    most_epochs: int = 30
    min_steps: int = 120
    head_init: str = "zeros"
    contrast: float = 1.0
    contrast_texts: int = 100
    min_contrast_texts: int = 32
    text_rank: int = 4
    frozen_share: float = 0.0
    pooling: str = "auto"
    validation_fraction: float = 0.1
    min_validation_texts: int = 100
    max_validation_share: float = 1 / 3
    max_validation_texts: int = 10_000
    max_probe_rows: int = 30_000
    join_after: float = 1 / 2
    clearly_better: float = 2.0
    temperature: float = 2.5
    temperature_weight: float = 4.0
    max_calibration_texts: int = 200
    early_stopping: bool = False
    n_iter_no_change: int = 3
    few_labels: int = 200
    min_texts_per_class: int = 4
    enough_texts_per_class: int = 8
    linear_probe: LinearProbeConfig = field(default_factory=LinearProbeConfig)
    checkpoint_seconds: float = 120.0
    processes: str = "one"
    callbacks: tuple[Any, ...] = ()
    time_limit: float | None = None
    verbose: int = 0

    def n_epochs(self, n_texts: int) -> int:
        """Return `max_epochs`; "auto" gives few texts more epochs, for enough steps."""
        if not isinstance(self.max_epochs, str):
            return int(self.max_epochs)
        epochs = math.ceil(self.min_steps / self.n_steps(n_texts))
        return min(max(epochs, self.min_epochs), self.most_epochs)

    def n_steps(self, n_texts: int) -> int:
        """Return how many steps an epoch has."""
        return max(1, math.ceil(n_texts / self.batch_size))

    def is_few(self, n_texts: int) -> bool:
        """Return whether these labelled texts are few, with `label_texts`."""
        return n_texts < max(1, self.few_labels)

    def are_too_few(self, n_texts: int, n_classes: int) -> bool:
        """Return whether there is no training on these texts, with `label_texts`."""
        n_enough = max(1, self.min_texts_per_class * n_classes)
        return self.is_few(n_texts) and n_texts < n_enough

    def contrast_share(self, n_texts: int, n_classes: int) -> float:
        """Return how much `contrast` counts: less with more texts of a class."""
        if n_texts < self.min_contrast_texts:
            return 0.0
        return min(1.0, self.contrast_texts * n_classes / n_texts) ** 2

    def to_dict(self) -> dict[str, Any]:
        """Return all fields in JSON values, but for callbacks and processes."""
        values = asdict(replace(self, callbacks=()))
        del values["callbacks"], values["processes"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingConfig":
        """Return the configuration of `to_dict`."""
        probe: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values["linear_probe"].items()
        }
        return cls(**{**values, "linear_probe": LinearProbeConfig(**probe)})
