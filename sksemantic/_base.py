"""The base of all estimators: parameters, fit, prediction, pickling."""

from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils._param_validation import Interval, StrOptions

from sksemantic._backbone.device import resolve_device
from sksemantic._inputs.columns import Columns, check_texts
from sksemantic._inputs.dataset import TextDataset
from sksemantic._inputs.model_options import ModelOptions
from sksemantic._inputs.nested_parameters import NestedParameters
from sksemantic._inputs.prompt import Prompt
from sksemantic._inputs.validation import (
    check_columns,
    check_directory,
    check_enough,
    check_groups,
    check_weights,
    column_attributes,
    labelled_part,
    mean_one,
    random_source,
    resumable,
)
from sksemantic._model.inference import compute_features
from sksemantic._model.module import SemanticModule
from sksemantic._model.pooling import PAIR
from sksemantic._prediction import Predicts
from sksemantic._representation import Represented
from sksemantic._saving.checkpoint_store import open_store
from sksemantic._saving.digest import facts_of_call
from sksemantic._saving.pretrained import Pretrained
from sksemantic._tasks.base import Targets
from sksemantic._training.build import (
    build_module,
    check_parameters,
    check_task_options,
)
from sksemantic._training.config import TrainingConfig
from sksemantic._training.display import make_display
from sksemantic._training.estimate import FitTimeEstimate
from sksemantic._training.faults import explained_faults
from sksemantic._training.fit_hooks import (
    CallbackSupportMixin,
    FitHooks,
    checked_fit,
)
from sksemantic._training.fitted import FittedModel
from sksemantic._training.job import Job, Request
from sksemantic._training.options import OPTION_NAMES
from sksemantic._training.process_group import begin_processes
from sksemantic._training.progress import Progress, ReadingProgress
from sksemantic._training.shared_store import SharedStore
from sksemantic._training.trainer import Trainer
from sksemantic._training.training_lock import training_lock
from sksemantic._training.warm_start import with_outputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._backbone.backbone import Backbone
    from sksemantic._backbone.loading import BackboneConfig
    from sksemantic._inputs.template import Template
    from sksemantic._tasks.base import Task

# What `fit` returns. Editors that complete from source do not understand `Self`.
Estimator = TypeVar("Estimator", bound="BaseSKTuning")
_METHODS = ("prefix", "prompt")
_AUTO_OR_NUMBER = [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")]
_ADAPTERS = ("low_rank", "linear", "embedding")


class BaseSKTuning(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    Predicts,
    Pretrained,
    Represented,
    NestedParameters,
    ABC,
):
    """Frozen backbone, semantic prefix, trainable adapter and head.

    Subclasses say what X and y are: `_encode_targets` and `_default_prompt`, and, for
    X of another form than texts, `_check_texts` and `_make_dataset`.
    """

    _parameter_constraints: dict = {
        "model": [str],
        "prompt": [str, None],
        "method": [StrOptions(set(_METHODS))],
        "adapter": [StrOptions(set(_ADAPTERS))],
        "adapter_rank": [Interval(Integral, 1, None, closed="left")],
        "tuned_layers": [
            StrOptions({"auto", "all"}),
            Interval(Integral, 1, None, closed="left"),
            tuple,
            list,
        ],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "lr": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "max_epochs": _AUTO_OR_NUMBER,
        "batch_size": _AUTO_OR_NUMBER,
        "device": [str],
        "model_kwargs": [dict, None],
        "training": [dict, None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "early_stopping": ["boolean"],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "checkpoint_dir": [str, Path, None],
        "verbose": ["verbose"],
    }

    _nested_parameters = {
        "training": dict.fromkeys(OPTION_NAMES, "auto"),
        "model_kwargs": vars(ModelOptions()),
    }

    @checked_fit
    def fit(
        self: Estimator, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> Estimator:
        """Read the prompt once, then train adapter and head on the texts.

        Parameters
        ----------
        X : sequence of str of length n_samples, or of tuples, or table
            Texts; empty ones are legal. List, tuple, ndarray, pandas, pyarrow or
            polars Series, one-column DataFrame. Several texts a row: tuples, a 2-D
            array, or a DataFrame.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels, or numbers; with several columns, indicators of labels, or several
            targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the texts in the loss.
        groups : array-like of shape (n_samples,), default=None
            Texts of one group are held out together, or not at all.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or an argument is invalid; if possible before any loading.
        BackboneNotFoundError
            If no weights are found for `model`.
        UnsupportedBackboneError
            If the weights cannot be loaded safely, or take no semantic prefix.
        """
        return self._train(X, y, sample_weight, groups)

    def estimate_fit_time(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> FitTimeEstimate:
        """Estimate how long `fit` would take on this machine, within a few seconds.

        The backbone is loaded, and stays so for `fit`; a few batches are run.

        Parameters
        ----------
        X, y, sample_weight, groups : object
            As for `fit`, which raises the same errors.

        Returns
        -------
        FitTimeEstimate
            With `seconds` and `peak_bytes`; `str` of it is a sentence.
        """
        with begin_processes(self.get_params(deep=False)).together():
            request = self._check(X, y, sample_weight, groups)
            rng = deepcopy(random_source(self.random_state, 0))  # fit's is not used up
            return self._prepare(request, Progress(), rng).estimate()

    def _train(self, *args: Any, **kwargs: Any) -> Self:
        """Fit, and keep what has come of it; a thread that does so too waits."""
        with training_lock(self):
            self._keep(self._fit(*args, **kwargs))
        return self

    def _fit(self, *args: Any, is_partial: bool = False, **kwargs: Any) -> FittedModel:
        """Train afresh, or go on from the fitted model; leave that as it was.

        `is_partial` is for one more epoch at constant rates.
        """
        processes = begin_processes(self.get_params(deep=False))
        display = make_display(self._shown_name, processes.is_first * self.verbose)
        with explained_faults(), Progress(display) as progress, processes.together():
            progress.begin("checks")
            request = self._check(*args, is_partial=is_partial, **kwargs)
            processes.check_alike(partial(facts_of_call, request))
            if is_partial:
                return self._prepare(request, progress).run()
            rng, directory, store = None, self.checkpoint_dir, None
            if directory is not None:
                if processes.is_first:
                    check_directory("checkpoint_dir", directory)
                rng = resumable(random_source(self.random_state, 0))
            job = self._prepare(request, progress, rng)
            progress.hooks = hooks = FitHooks.begin(job, self, *args[:3])
            if directory is not None:
                store = SharedStore(processes, partial(open_store, directory, job))
            model = job.run(store)
            if hooks is not None:
                hooks.end(model)
            return model

    def _check(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        groups: Any = None,
        *,
        is_partial: bool = False,
        classes: "NDArray | None" = None,
    ) -> Request:
        """Check everything that needs no backbone."""
        goes_on = self.__sklearn_is_fitted__() and (is_partial or self.warm_start)
        former = self._model if goes_on else None
        parameters = self.get_params(deep=False)
        check_parameters(parameters, type(self).__name__)
        prompt = None if self.prompt is None else Prompt.parse(self.prompt)
        texts = self._check_texts(X, prompt)
        if not is_partial:
            check_enough(texts)
        weights = check_weights(sample_weight, texts)
        groups = check_groups(groups, texts)
        task = former.task if former else None
        targets = self._encode_targets(y, texts, weights, task, classes)
        targets = replace(targets, weights=mean_one(targets.weights))
        check_task_options(parameters, targets, is_partial=is_partial)
        labelled, groups = labelled_part(texts, groups, targets.labelled)
        if former and not len(labelled):
            raise ValueError("y has no label; a warm start needs labelled texts.")
        columns = column_attributes(X)
        if former and is_partial:
            columns = vars(former.columns)
            check_columns(self, X)
        return Request(
            parameters,
            prompt,
            texts,
            labelled,
            targets,
            groups,
            columns,
            former,
            is_partial,
        )

    def _prepare(
        self,
        request: Request,
        progress: Progress,
        rng: np.random.RandomState | None = None,
    ) -> Job:
        """Load the backbone, build the module, tokenise the texts."""
        rng = rng or random_source(self.random_state, request.n_done)
        rng = request.processes.same_source(rng)
        progress.begin("loading")
        request, backbone, config = request.load_backbone()
        targets, former = request.targets, request.former
        module, template, training = self._build(request, backbone, config, rng)
        if former is not None:
            places = targets.task.former_outputs(former.task)
            with_outputs(former, places).copy_weights_to(module)
        progress.begin("tokenising")
        given = targets.values, targets.weights, request.groups
        data = self._make_dataset(module, template, request.labelled, *given)
        tokenise = partial(self._make_dataset, module, template)
        side = request.read_side_information(module, template, tokenise)
        trainer = Trainer(module, targets.task, training, rng, progress)
        return Job(request, template, trainer, data, side)

    def get_module(self) -> SemanticModule:
        """Return adapter and head around the frozen backbone; load it if needed.

        Returns
        -------
        torch.nn.Module
        """
        return self._load(self._model)[0]

    def transform(self, X: Any) -> "NDArray":
        """Embed texts: pooled hidden states after the trained semantic prefix.

        Parameters
        ----------
        X : sequence of str of length n_samples, or of tuples, or table
            Texts.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            One embedding per text, as the head reads it before standardisation: of
            the backbone's hidden size, or three times that for pairs whose texts are
            also read one by one.
        """
        module, data = self._load_with_data(self._model, X)
        with self._reading(data) as reading:
            return compute_features(module, data, reading.count)

    def _reading(self, data: TextDataset) -> ReadingProgress:
        n_tokens = len(data.token_ids.flat)
        return ReadingProgress(self._shown_name, self.verbose, n_tokens)

    @property
    def _shown_name(self) -> str:
        """What a bar is called: it shares 80 columns with what it shows."""
        return type(self).__name__.removeprefix("SKTuning")

    def __sklearn_tags__(self):
        """Declare texts as input."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags

    def _load(self, model: FittedModel) -> "tuple[SemanticModule, Template]":
        """Return the fitted module, and what lays out its texts."""
        return model.load(resolve_device(self.device), self.model)

    def _load_with_data(
        self, model: FittedModel, X: Any
    ) -> tuple[SemanticModule, TextDataset]:
        """Return the fitted module, and checked and tokenised texts."""
        texts = self._check_like_fitted(model, X)
        module, template = self._load(model)
        return module, self._make_dataset(module, template, texts)

    def _check_like_fitted(self, model: FittedModel, X: Any) -> Any:
        """Check X; its columns must be those of the fit."""
        config = model.config.model
        texts = self._check_texts(X, Prompt.parse(config.prompt))
        n_texts = self._n_texts(texts)
        if n_texts != config.n_texts:
            raise ValueError(
                f"X has {n_texts} text(s) a row, but this {type(self).__name__} was "
                f"fitted with {config.n_texts}."
            )
        check_columns(self, X)
        return texts

    def _build(
        self,
        request: Request,
        backbone: "Backbone",
        config: "BackboneConfig",
        rng: np.random.RandomState,
    ) -> "tuple[SemanticModule, Template, TrainingConfig]":
        """Build an untrained module on a backbone."""
        texts, prompt = request.labelled, request.prompt
        n_columns = self._n_texts(texts)
        if prompt is None:
            prompt = Prompt.parse(self._default_prompt(backbone.is_causal, n_columns))
        return build_module(
            request.parameters,
            backbone,
            config,
            prompt,
            request.targets,
            n_columns,
            rng,
            n_texts=len(texts),
            **request.situation,
        )

    # What X and y are

    @abstractmethod
    def _encode_targets(
        self,
        y: Any,
        texts: Any,
        weights: "NDArray | None",
        former: "Task | None",
        classes: "NDArray | None" = None,
    ) -> Targets:
        """Check y, and return it as the targets of a task.

        Parameters
        ----------
        y : object
            As the user passed it.
        texts : object
            What `_check_texts` returns.
        weights : ndarray of shape (n,) or None
        former : Task or None
            The task of the fit before, if training goes on from there.
        classes : ndarray or None
            All labels, in `partial_fit`.
        """

    @abstractmethod
    def _default_prompt(self, is_causal: bool, n_texts: int) -> str:
        """Return the prompt for a kind of backbone and so many texts a row."""

    def _check_texts(self, X: Any, prompt: Prompt | None) -> Any:
        """Check X; return its texts in the order of the prompt's slots."""
        columns = check_texts(X)
        prompt = prompt or Prompt(("",))
        order = prompt.columns(columns.n_columns, columns.names)
        return Columns([columns.values[i] for i in order])

    def _n_texts(self, texts: Any) -> int:
        """Return how many texts a row has."""
        return texts.n_columns

    def _make_dataset(
        self,
        module: SemanticModule,
        template: "Template",
        texts: Any,
        targets: "NDArray | None" = None,
        weights: "NDArray | None" = None,
        groups: "NDArray | None" = None,
    ) -> TextDataset:
        """Tokenise what `_check_texts` returns."""
        pair_texts = n_windows = None
        if module.config.pooling == PAIR:
            rows, pair_texts = template.rows_and_pair_texts(texts.values)
        elif template.has_windows:
            rows, n_windows = template.windows(texts.values[0])
        else:
            rows = template.rows(texts.values)
        return TextDataset(rows, targets, weights, None, groups, pair_texts, n_windows)
