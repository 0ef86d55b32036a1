"""Estimators that say which words of a text decide."""

from typing import TYPE_CHECKING, Any

import numpy as np

from sksemantic._explanation import (
    METHODS,
    Explanation,
    can_take_gradients,
    choose_methods,
    explain_by_gradients,
    explain_by_occlusion,
    explain_by_shapley,
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
        method : {"auto", "shapley", "occlusion", "integrated_gradients"}
            "shapley" is the mean of what a word adds to all others, and of what it adds
            to none: each text is read once without each word, and each word alone. That
            is the word's Shapley value [1]_ where at most two words interact.
            "occlusion" is the former of the two. "integrated_gradients" [2]_ takes
            `n_steps` passes with gradient, however long the text is: from a text whose
            words are hidden to the text itself. "auto" is "shapley" for texts of up to
            48 words, and for backbones that allow no gradients; else
            "integrated_gradients". By default "auto".
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
        .. [1] S. M. Lundberg and S.-I. Lee, "A unified approach to interpreting model
           predictions", NeurIPS 2017. arXiv 1705.07874.
        .. [2] M. Sundararajan, A. Taly and Q. Yan, "Axiomatic attribution for deep
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

        if method == "integrated_gradients" and not can_take_gradients(module):
            raise ValueError(
                "The 'method' parameter of explain must be 'shapley' or 'occlusion' "
                "for pairs that an encoder reads three times, and for backbones whose "
                "layers take no hooks. Got 'integrated_gradients' instead."
            )

        data = self._make_dataset(module, template, texts)
        outputs = compute_scores(module, data)
        methods = choose_methods(module, texts, method)
        scores: list[NDArray] = [np.empty(0)] * len(texts)

        def compute(rows: "Columns") -> "NDArray":
            return compute_scores(module, self._make_dataset(module, template, rows))

        for name in np.unique(methods):
            rows = np.flatnonzero(methods == name)
            some = texts.take(rows)
            if name == "integrated_gradients":
                given = data.take(rows), some, task, n_steps
                found = explain_by_gradients(module, template, *given)
            else:
                by = explain_by_shapley if name == "shapley" else explain_by_occlusion
                found = by(compute, some, outputs[rows], task)
            for i, own in zip(rows, found, strict=True):
                scores[i] = own
        names, predictions = task.output_names(), task.predict(outputs)
        shown = task.shown_outputs(outputs)
        return make_explanations(texts, scores, names, predictions, methods, shown)

    def _attention(self, text: Any) -> "tuple[NDArray, list[str], list[str], int]":
        """Return what the tokens of one text attend to, and all tokens as texts.

        Those of its first window, and how many windows there are.
        """
        model = self._model
        texts = self._check_like_fitted(model, [text])
        module, template = self._load(model)
        data = self._make_dataset(module, template, texts)
        windows = data.windows()
        first = windows.take(np.arange(1))
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
        return weights, tokens, prompt, len(windows)
