"""A fit that is ready to begin: to be run, or only to be foreseen."""

import logging
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sksemantic._backbone.registry import load_backbone
from sksemantic._backbone.threads import shared_cpus
from sksemantic._cache import activations
from sksemantic._tasks.classification import ClassifierTask
from sksemantic._tasks.verbalizer import read_label_texts
from sksemantic._training.build import has_few_labelled, resolve_backbone_config
from sksemantic._training.checkpoint import Checkpoint, Store
from sksemantic._training.epochs import warn_of_interrupt
from sksemantic._training.estimate import FitTimeEstimate, estimate_fit
from sksemantic._training.fitted import FittedModel
from sksemantic._training.process_group import asked_for, processes_of
from sksemantic._training.result import TrainingResult
from sksemantic._training.side_information import NO_SIDE_INFORMATION, SideInformation
from sksemantic._training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sksemantic._backbone.backbone import Backbone
    from sksemantic._backbone.loading import BackboneConfig
    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._inputs.prompt import Prompt
    from sksemantic._inputs.template import Template
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Targets
    from sksemantic._training.processes import Processes


_LOGGER = logging.getLogger("sksemantic")


@dataclass(frozen=True)
class Request:
    """What a fit was called with, checked.

    Attributes
    ----------
    parameters : dict
        Of the estimator, by name.
    prompt : Prompt or None
    texts, labelled : object
        All texts as `_check_texts` returns them, and those that have a label.
    targets : Targets
    groups : ndarray or None
        Of the labelled texts.
    columns : dict
        Names and number of X's columns.
    former : FittedModel or None
        Where training goes on from.
    is_partial : bool
        Whether it is one more epoch at constant rates.
    """

    parameters: dict[str, Any]
    prompt: "Prompt | None"
    texts: Any
    labelled: Any
    targets: "Targets"
    groups: "NDArray | None"
    columns: dict[str, Any]
    former: FittedModel | None
    is_partial: bool

    @property
    def processes(self) -> "Processes":
        """The processes that do this fit."""
        return processes_of(asked_for(self.parameters))

    @property
    def n_done(self) -> int:
        """How many epochs there were before one that is partial."""
        former = self.former
        return len(former.result.history) if former and self.is_partial else 0

    @property
    def is_new(self) -> "NDArray | None":
        """Which outputs of the head (K,) a warm start adds, bool; None for none."""
        if self.former is None:
            return None
        is_new = self.targets.task.former_outputs(self.former.task) < 0
        return is_new if is_new.any() else None

    @property
    def situation(self) -> dict[str, bool]:
        """What `build_module` is to know of it."""
        is_fresh, former = self.former is None, self.former
        had_unit_length = former is not None and former.config.model.has_unit_length
        return {
            "had_unit_length": had_unit_length,
            "is_fresh": is_fresh,
            "has_linear_probe": not (is_fresh and self.is_partial),
            "was_contrasted": had_unit_length and not self.is_partial,
        }

    def load_backbone(self) -> "tuple[Request, Backbone, BackboneConfig]":
        """Load the backbone.

        Return the request as this backbone needs it, the backbone, and how it was
        loaded. A causal model reads the label texts where labelled ones are few, with
        all its layers: output embeddings are made for the states of the last. A warm
        start keeps its layers.

        Raises
        ------
        BackboneNotFoundError
            If there are no such weights.
        ValueError
            If the device is not there, the weights cannot be quantized, or a warm start
            adds a class of which nothing can be known.
        """
        targets, former = self.targets, self.former
        have_texts = targets.label_texts is not None
        are_read = have_texts and has_few_labelled(self.parameters, targets)
        default: str | int = "all" if are_read else "auto"
        if former is not None:
            default = former.config.model.backbone.n_layers
        config = resolve_backbone_config(self.parameters, default)
        backbone = load_backbone(config)
        if former is not None:
            are_read = backbone.is_whole
        if are_read or not (have_texts and backbone.is_causal):
            return self, backbone, config
        self._check_no_new_class_is_empty()
        targets = replace(targets, label_texts=None)
        return replace(self, targets=targets), backbone, config

    def _check_no_new_class_is_empty(self) -> None:
        if self.is_new is None:
            return
        task = self.targets.task
        assert isinstance(task, ClassifierTask)
        is_empty = self.is_new & (self.targets.class_counts() == 0)
        if is_empty.any():
            empty = task.classes[is_empty].tolist()
            raise ValueError(
                f"y has no text of the new class(es) {empty}, and this model cannot "
                "read what they are called: it was fitted without 'label_texts', or "
                "with labelled texts enough to leave out the layers that these need. "
                "Pass texts of each new class or, to start afresh, call fit with "
                "warm_start=False."
            )

    def read_side_information(
        self,
        module: "SemanticModule",
        template: "Template",
        make_dataset: "Callable[[Any], TextDataset]",
    ) -> SideInformation:
        """Read what is known beside the labelled texts; `make_dataset` tokenises."""
        targets, texts = self.targets, self.texts
        if self.is_partial:
            return NO_SIDE_INFORMATION
        if self.former is None:
            return SideInformation.read(
                module,
                template,
                targets,
                len(texts),
                lambda rows: make_dataset(texts.take(rows)),
            )
        if self.is_new is None or targets.label_texts is None:
            return NO_SIDE_INFORMATION
        label_texts = read_label_texts(module, template, targets.label_texts)
        return SideInformation(new_label_texts=label_texts)


@dataclass(frozen=True)
class Job:
    """A checked, built and tokenised fit.

    Attributes
    ----------
    request : Request
    template : Template
    trainer : Trainer
    data : TextDataset
    side : SideInformation
    """

    request: Request
    template: "Template"
    trainer: Trainer
    data: "TextDataset"
    side: SideInformation = NO_SIDE_INFORMATION

    def run(self, store: Store | None = None) -> FittedModel:
        """Train, or go on from what an earlier run has left in the store; close it."""
        with nullcontext() if store is None else closing(store):
            return self._run(store)

    def _run(self, store: Store | None) -> FittedModel:
        trainer = self.trainer
        finished = None if store is None else store.finished()
        if finished is not None:
            model, extra = finished
            trainer.rng.set_state(extra["rng"])
            return self._taken_over(model)
        checkpoint = Checkpoint(
            store, trainer.config.checkpoint_seconds, trainer.progress, trainer.rng
        )
        processes = self.request.processes
        cache_limit = checkpoint.cache_limit
        if cache_limit is None:
            cache_limit = processes.share_of_memory(activations.limit)
        cache = activations.limited(cache_limit)
        with shared_cpus(checkpoint.n_threads), cache:
            result = self._train(checkpoint)
            processes.same_weights(trainer.module)
        try:
            model = self._fitted(result)
            if store is not None and not result.is_interrupted:
                store.finish(model, {"rng": trainer.rng.get_state()})
        except KeyboardInterrupt:
            if processes.size > 1:
                raise
            model = self._fitted(result)
            warn_of_interrupt("after the training")
        return model

    def _taken_over(self, model: FittedModel) -> FittedModel:
        """Return the model of the same fit, with the columns and the place of now."""
        comparison = model.result.comparison
        if comparison is not None and comparison.kept == "linear_probe":
            comparison.warn_of_fallback()
        self.trainer.progress.end()
        _LOGGER.info("fit was finished before: its model is taken over")
        model = replace(model, columns=SimpleNamespace(**self.request.columns))
        return model.with_source(self.trainer.module.config.backbone.source)

    def _train(self, checkpoint: Checkpoint) -> TrainingResult:
        trainer, former = self.trainer, self.request.former
        if self.request.is_partial:
            former_result = None if former is None else former.result
            return trainer.partial_fit(self.data, former=former_result)
        return trainer.fit(
            self.data,
            checkpoint,
            is_fresh=former is None,
            is_new=self.request.is_new,
            can_cut_layers=self._can_cut_layers,
            side=self.side,
        )

    def _fitted(self, result: TrainingResult) -> FittedModel:
        trainer = self.trainer
        return FittedModel.from_training(
            trainer.module,
            self.template,
            trainer.task,
            trainer.config,
            result,
            self.request.columns,
            trainer.progress.end(),
            len(self.data),
        )

    def estimate(self) -> FitTimeEstimate:
        """Foresee the fit; change nothing."""
        with shared_cpus():
            trainer, can_cut = self.trainer, self._can_cut_layers
            trainer.progress.begin("measuring")
            plan = trainer.planner.plan(self.data, self.side, trainer.limit, can_cut)
            return estimate_fit(trainer, plan)

    @property
    def _can_cut_layers(self) -> bool:
        """Whether a time limit may choose the layers: of encoders, as was measured."""
        request, module = self.request, self.trainer.module
        is_open = request.parameters["tuned_layers"] == "auto" and not request.former
        has_several = module.config.n_tuned_layers > 1
        return is_open and has_several and not module.backbone.is_causal
