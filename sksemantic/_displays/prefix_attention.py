"""How much each token of a text attends to the words of the prompt."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sksemantic._displays.drawing import axes_for, import_pyplot, own_estimator

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
    n_windows : int, default=1
        In how many windows the text is read. `tokens` are those of the first.

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
    n_windows: int = 1

    def __repr__(self) -> str:
        """Return how large it is."""
        n_layers, n_tokens, n_prompt = self.weights.shape
        return (
            f"<PrefixAttentionDisplay of {n_tokens} tokens, {n_prompt} of the prompt, "
            f"{n_layers} layers>"
        )

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
            Or a search for one.
        text : str, or tuple of str for several texts a row
            One that is read in several windows is drawn up to the end of the first.
        ax, **kwargs : object
            As in `plot`.

        Returns
        -------
        PrefixAttentionDisplay

        Raises
        ------
        TypeError
            If the estimator is another one, or `text` is not one text.
        ValueError
            If the backbone does not show what it attends to.
        """
        own: Any = own_estimator(estimator, reads_texts=True)
        if not isinstance(text, str | tuple):
            raise TypeError(
                "text must be one text, or a tuple of the texts of one row. Got "
                f"{type(text).__name__} instead."
            )
        return cls(*own._attention(text)).plot(ax=ax, **kwargs)

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
            Passed to matplotlib's `imshow`. By default the colours show the square root
            of the attention: most of it is often at one token.

        Returns
        -------
        self : PrefixAttentionDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        n_prompt, n_tokens = len(self.prompt_tokens), len(self.tokens)
        size = (min(16, 5.5 + 0.35 * n_prompt), min(20, 2.6 + 0.24 * n_tokens))
        pyplot = import_pyplot("PrefixAttentionDisplay")
        name, ratios = "PrefixAttentionDisplay", [3, 1]
        axes, self.figure_ = axes_for(ax, name, 2, figsize=size, width_ratios=ratios)
        self.axes_ = axes
        mean = self.weights.mean(axis=0)  # (n_tokens, n_prompt_tokens)
        options = {"cmap": "Blues", "aspect": "auto", **kwargs}
        if not {"norm", "vmin", "vmax"} & {*kwargs}:
            options["norm"] = pyplot.matplotlib.colors.PowerNorm(0.5, vmin=0)
        self.image_ = axes[0].imshow(mean, **options)
        labels = [_plain(token) for token in self.prompt_tokens]
        axes[0].set_xticks(np.arange(len(labels)), labels, rotation=60, ha="right")
        axes[0].set_yticks(np.arange(len(self.tokens)), map(_plain, self.tokens))
        part = f" (window 1 of {self.n_windows})" if self.n_windows > 1 else ""
        axes[0].set(xlabel="prompt", ylabel=f"text{part}")
        bar = self.figure_.colorbar(
            self.image_,
            ax=axes[0],
            label="attention, mean of all layers",
            location="top",
            aspect=30,
        )
        low, high = self.image_.get_clim()
        ticks = low + (high - low) * np.square([0, 0.25, 0.5, 0.75, 1])
        bar.set_ticks(ticks.tolist())
        bar.ax.xaxis.set_major_formatter("{x:.2g}")
        self.bars_ = None
        if len(axes) > 1:
            layers = np.arange(len(self.weights))
            self.bars_ = axes[1].barh(layers, self.by_layer, color="C0")
            axes[1].invert_yaxis()
            axes[1].locator_params(axis="y", integer=True)
            axes[1].set(xlabel="share of\nthe prompt", ylabel="layer", xlim=(0, 1))
            axes[1].set_box_aspect(max(1.0, 0.2 * len(layers)))
            axes[1].set_anchor("N")
        return self


def _plain(token: str) -> str:
    return token.replace("$", r"\$").replace("\n", r"\n")
