"""A fit that is ready to begin: to be run, or only to be foreseen."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sksemantic._backbone.threads import shared_cpus
from sksemantic._training.estimate import FitTimeEstimate, estimate_fit
from sksemantic._training.fitted import FittedModel
from sksemantic._training.probe import LabelTexts
from sksemantic._training.trainer import Trainer

if TYPE_CHECKING:
    from sksemantic._inputs.dataset import TextDataset
    from sksemantic._inputs.template import Template
    from sksemantic._model.module import SemanticModule


@dataclass(frozen=True)
class Job:
    """A checked, built and tokenised fit.

    Attributes
    ----------
    module : SemanticModule
    template : Template
    trainer : Trainer
    data : TextDataset
    columns : dict
        Names and number of X's columns.
    former : FittedModel or None
        Where training goes on from.
    label_texts : LabelTexts or None
    """

    module: "SemanticModule"
    template: "Template"
    trainer: Trainer
    data: "TextDataset"
    columns: dict[str, Any]
    former: FittedModel | None = None
    label_texts: LabelTexts | None = None

    def run(self, *, is_partial: bool = False) -> FittedModel:
        """Train; `is_partial` is for one more epoch at constant rates."""
        trainer, former = self.trainer, self.former
        with shared_cpus():
            if is_partial:
                result = trainer.partial_fit(
                    self.data, former=None if former is None else former.result
                )
            else:
                result = trainer.fit(
                    self.data, is_fresh=former is None, label_texts=self.label_texts
                )
        return FittedModel.from_training(
            self.module,
            self.template,
            trainer.task,
            trainer.config,
            result,
            self.columns,
            trainer.progress.end(),
        )

    def estimate(self) -> FitTimeEstimate:
        """Foresee the fit; change nothing."""
        with shared_cpus():
            return estimate_fit(self.trainer, self.data, self.label_texts)
