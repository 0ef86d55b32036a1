"""Estimators that say which words of a text decide."""

from typing import TYPE_CHECKING, Any

import numpy as np

from sksemantic._explanation import (
    METHODS,
    Explanation,
    can_take_gradients,
    explain_by_gradients,
    explain_by_occlusion,
    make_explanations,
)
from sksemantic._inputs.dataset import TextDataset
from sksemantic._model.inference import compute_scores
from sksemantic._model.prompt_attention import prompt_attention

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sksemantic._inputs.columns import Columns
    from sksemantic._training.fitted import FittedModel


class Explains:
    """Explains what is predicted of whole texts, word by word."""

    if TYPE_CHECKING:
        _model: FittedModel

        def _check_like_fitted(self, model: FittedModel, X: Any) -> Columns: ...
        def _load(self, model: FittedModel) -> Any: ...
        def _make_dataset(self, *args: Any) -> Any: ...

    def explain(
        self, X: Any, *, method: str = "auto", n_steps: int = 8
    ) -> list[Explanation]:
        """Say what each word of each text adds to each class.

        Parameters
        ----------
        X : sequence of str of length n_samples, or of tuples, or table
            Texts.
        method : {"auto", "integrated_gradients", "occlusion"}, default="auto"
            "integrated_gradients" [1]_ takes `n_steps` passes with gradient, however
            long the text is: from a text whose words are hidden to the text itself.
            "occlusion" reads each text once more without each of its words. "auto" is
            the former where the backbone allows it, and the latter for pairs that an
            encoder reads three times.
        n_steps : int, default=8
            Points on the way of the integrated gradients.

        Returns
        -------
        list of Explanation
            One for each text, with its `words` and `scores` of shape (n_words,
            n_classes).

        Raises
        ------
        ValueError
            If a parameter is invalid, or this backbone takes no gradients.

        References
        ----------
        .. [1] M. Sundararajan, A. Taly and Q. Yan, "Axiomatic attribution for deep
           networks", ICML 2017. arXiv 1703.01365.
        """
        if method not in METHODS:
            raise ValueError(
                f"The 'method' parameter of explain must be one of {METHODS}. Got "
                f"{method!r} instead."
            )
        if isinstance(n_steps, bool) or not isinstance(n_steps, int) or n_steps < 1:
            raise ValueError(
                "The 'n_steps' parameter of explain must be a whole number of at least "
                f"1. Got {n_steps!r} instead."
            )
        model = self._model
        texts = self._check_like_fitted(model, X)
        module, template = self._load(model)
        task = model.task

        def compute(rows: "Columns") -> "NDArray":
            return compute_scores(module, self._make_dataset(module, template, rows))

        can_derive = can_take_gradients(module)
        if method == "auto":
            method = "integrated_gradients" if can_derive else "occlusion"
        if method == "integrated_gradients" and not can_derive:
            raise ValueError(
                "The 'method' parameter of explain must be 'occlusion' for pairs that "
                "an encoder reads three times, and for backbones whose layers take no "
                "hooks. Got 'integrated_gradients' instead."
            )
        data = self._make_dataset(module, template, texts)
        outputs = compute_scores(module, data)
        if method == "occlusion":
            scores = explain_by_occlusion(compute, texts, outputs, task)
        else:
            scores = explain_by_gradients(module, template, data, texts, task, n_steps)
        predictions = task.predict(outputs)
        return make_explanations(texts, scores, task.output_names(), predictions)

    def _attention(self, text: Any) -> "tuple[NDArray, list[str], list[str]]":
        """Return what the tokens of one text attend to, and all tokens as texts."""
        model = self._model
        texts = self._check_like_fitted(model, [text])
        module, template = self._load(model)
        data = self._make_dataset(module, template, texts)
        first = data.windows().take(np.arange(1))
        weights = prompt_attention(module, TextDataset(first.token_ids))
        if not len(weights):
            raise ValueError(
                "This backbone does not show what it attends to: its attention "
                "function cannot be replaced."
            )
        decode = module.backbone.tokenizer.decode
        tokens, prompt = (
            [decode([i]) for i in ids]
            for ids in (first.token_ids.flat.tolist(), module.prompt_ids)
        )
        return weights, tokens, prompt
