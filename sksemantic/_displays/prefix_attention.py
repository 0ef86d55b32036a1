"""How much each token of a text attends to the words of the prompt."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sksemantic._displays.drawing import axes_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray


@dataclass(eq=False)
class PrefixAttentionDisplay:
    """How much the tokens of a text attend to those of the prompt, layer by layer.

    Made by `from_estimator`; `plot` draws it.

    Parameters
    ----------
    weights : ndarray of shape (n_layers, n_tokens, n_prompt_tokens)
        Attention after the trained semantic prefix, the mean of all heads. What is left
        to one of a token goes to the text itself.
    tokens : list of str
        Of the text, with what the tokenizer and the prompt put around it.
    prompt_tokens : list of str

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        Of the tokens, the mean of all layers; and of the layers, the mean of all
        tokens.
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage
    bars_ : matplotlib BarContainer or None
    """

    __module__ = "sksemantic"  # where users find it

    weights: "NDArray"
    tokens: list[str]
    prompt_tokens: list[str]

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        text: Any,
        *,
        ax: "Axes | ArrayLike | None" = None,
        **kwargs: Any,
    ) -> Self:
        """Read one text with a fitted estimator, and draw what it attends to.

        Parameters
        ----------
        estimator : SKTuningClassifier or SKTuningRegressor
        text : str, or tuple of str for several texts a row
        ax, **kwargs : object
            As in `plot`.

        Returns
        -------
        PrefixAttentionDisplay

        Raises
        ------
        ValueError
            If the backbone does not show what it attends to.
        """
        check_is_fitted(estimator)
        return cls(*estimator._attention(text)).plot(ax=ax, **kwargs)

    @property
    def by_layer(self) -> "NDArray":
        """The share of the prompt in each layer (n_layers,), the mean of all tokens."""
        return self.weights.sum(axis=2).mean(axis=1)

    def plot(self, *, ax: "Axes | ArrayLike | None" = None, **kwargs: Any) -> Self:
        """Draw tokens against the prompt, and the prompt's share of each layer.

        Parameters
        ----------
        ax : matplotlib Axes, or two of them, default=None
            Where to draw; a single one gets the tokens alone. By default a new figure.
        **kwargs : object
            Passed to matplotlib's `imshow`.

        Returns
        -------
        self : PrefixAttentionDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_prompt, n_tokens = len(self.prompt_tokens), len(self.tokens)
        size = (min(16, 5 + 0.35 * n_prompt), min(20, 1.8 + 0.24 * n_tokens))
        name, ratios = "PrefixAttentionDisplay", [3, 1]
        axes, self.figure_ = axes_for(ax, name, 2, figsize=size, width_ratios=ratios)
        self.axes_ = axes
        mean = self.weights.mean(axis=0)  # (n_tokens, n_prompt_tokens)
        options = {"cmap": "Blues", "vmin": 0, "aspect": "auto", **kwargs}
        self.image_ = axes[0].imshow(mean, **options)
        labels = [_plain(token) for token in self.prompt_tokens]
        axes[0].set_xticks(np.arange(len(labels)), labels, rotation=60, ha="right")
        axes[0].set_yticks(np.arange(len(self.tokens)), map(_plain, self.tokens))
        axes[0].set(xlabel="prompt", ylabel="text", title="mean of all layers")
        self.figure_.colorbar(self.image_, ax=axes[0], label="attention")
        self.bars_ = None
        if len(axes) > 1:
            layers = np.arange(len(self.weights))
            self.bars_ = axes[1].barh(layers, self.by_layer, color="C0")
            axes[1].invert_yaxis()
            axes[1].locator_params(axis="y", integer=True)
            axes[1].set(xlabel="share of the prompt", ylabel="layer", xlim=(0, 1))
        return self


def _plain(token: str) -> str:
    return token.replace("$", r"\$").replace("\n", r"\n")
