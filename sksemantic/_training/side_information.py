"""What is known beside the labelled texts: what labels are called, and other texts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sksemantic._inputs.dataset import TextDataset
from sksemantic._inputs.prompt import Prompt
from sksemantic._tasks.content_free import content_free_texts
from sksemantic._tasks.verbalizer import LabelTexts, read_label_texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sksemantic._inputs.template import Template
    from sksemantic._model.module import SemanticModule
    from sksemantic._tasks.base import Targets


@dataclass(frozen=True)
class SideInformation:
    """What is known beside the labelled texts.

    Attributes
    ----------
    label_texts : LabelTexts or None
        What the labels are called.
    unlabelled : TextDataset or None
        Texts without labels; may be empty.
    content_free : TextDataset or None
        Texts that say nothing about any label, see `content_free_texts`.
    new_label_texts : LabelTexts or None
        What the labels are called, in a warm start with new ones.
    """

    label_texts: LabelTexts | None = None
    unlabelled: "TextDataset | None" = None
    content_free: "TextDataset | None" = None
    new_label_texts: LabelTexts | None = None

    @classmethod
    def read(
        cls,
        module: "SemanticModule",
        template: "Template",
        targets: "Targets",
        n_texts: int,
        make_dataset: "Callable[[NDArray], TextDataset]",
    ) -> "SideInformation":
        """Read the labels' texts; tokenise the texts without labels.

        `make_dataset` tokenises those of the `n_texts` texts that have these indices.
        Texts without any labelled word are not read: those with one have words enough
        for the features' scale. Measured with MiniLM on 20 sentences of CoNLL-2003.
        An encoder gains nothing from content-free texts: measured with MiniLM.
        """
        label_texts = unlabelled = content_free = None
        if targets.label_texts is not None:
            label_texts = read_label_texts(module, template, targets.label_texts)
            if module.backbone.is_causal:
                texts = content_free_texts(Prompt.parse(module.config.prompt))
                rows = template.rows([texts] * template.n_texts, is_users=False)
                content_free = TextDataset(rows)
        if targets.labelled is not None and not targets.task.has_words:
            others = np.setdiff1d(np.arange(n_texts), targets.labelled)
            unlabelled = make_dataset(others)
        return cls(label_texts, unlabelled, content_free)


NO_SIDE_INFORMATION = SideInformation()
