"""The one forward there is: adapter, backbone, pooling, head."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sksemantic._backbone.prefix import SplitLayer, editing, make_visitable
from sksemantic._model.adapters import (
    EmbeddingAdapter,
    PrefixAdapter,
    PromptAdapter,
    TextAdapter,
)
from sksemantic._model.frozen import FrozenFeatures, embed, join_pair, model_inputs
from sksemantic._model.pooling import PAIR, resolve_pooling
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from sksemantic._backbone.backbone import Backbone
    from sksemantic._backbone.prefix import PromptStates

_TEXT_RANK = 4  # measured with MiniLM and Gemma 3 270M
# Of the features that the head reads, while training.
_DROPOUT = 0.3


@dataclass(frozen=True)
class ModuleConfig:
    """What, besides the backbone, decides a module's shape."""

    method: str
    adapter: str
    adapter_rank: int
    tuned_layers: str | int | tuple[int, int]
    pooling: str
    n_outputs: int
    text_rank: int = 0


class SemanticModule(nn.Module):
    """Trainable adapter and head around a frozen backbone that is not registered here.

    Its parameters are exactly the trained ones; its state dict adds the features'
    mean and scale.
    """

    def __init__(
        self, backbone: "Backbone", prompt_ids: list[int], config: ModuleConfig
    ) -> None:
        super().__init__()
        self.backbone = backbone  # not an nn.Module, hence neither moved nor saved
        self.n_virtual_tokens = len(prompt_ids)
        self.config = config
        with torch.no_grad():
            ids = torch.tensor(prompt_ids, device=backbone.device)
            embeddings = backbone.embed(ids)  # (P, C)
            is_prefix = config.method == "prefix"
            read = (
                backbone.prefix_mechanism.read(embeddings[None]) if is_prefix else None
            )
        self.frozen = _frozen_features(embeddings, read, backbone, prompt_ids, config)
        self.pooling = self.frozen.pooling
        n_features = backbone.hidden_size * (3 if config.pooling == PAIR else 1)
        self.adapter = _build_adapter(embeddings, read, backbone, config)
        self.text_adapter = _build_text_adapter(read, backbone, config)
        self.dropout = nn.Dropout(_DROPOUT)
        self.head = nn.Linear(n_features, config.n_outputs)
        self.feature_mean: Tensor
        self.feature_scale: Tensor
        self.register_buffer("feature_mean", torch.zeros(n_features))
        self.register_buffer("feature_scale", torch.ones(n_features))
        self._folded: Any = None
        self.memo: tuple[Any, Any] | None = None  # the latest texts, and their scores
        self.to(backbone.device)

    @classmethod
    def seeded(
        cls,
        backbone: "Backbone",
        prompt_ids: list[int],
        config: ModuleConfig,
        seed: int,
    ) -> "SemanticModule":
        """Build a module whose initial values depend on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(backbone, prompt_ids, config)

    def forward(
        self, *, with_features: bool = False, **inputs: Tensor
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return logits, or standardised targets, (n_rows, K) of a batch.

        Parameters
        ----------
        with_features : bool, default=False
            Whether to return the embeddings (n_rows, C) as well.
        input_ids, attention_mask : Tensor of shape (B, T)
        token_type_ids : Tensor of shape (B, T), optional
            For pairs of texts.
        word_positions : Tensor of shape (B, S), optional
            Which tokens are units, filled up with -1.
        part_ids, part_mask : Tensor of shape (B, 2, T), optional
            The texts of pairs, each on its own.
        """
        features = self.features(inputs)
        standardised = (features - self.feature_mean) / self.feature_scale
        scores = self.head(self.dropout(standardised))
        return (scores, features) if with_features else scores

    def features(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the prompt-conditioned embeddings in float32.

        Returns
        -------
        Tensor of shape (n_rows, C)
            Or (B, 3C) of pairs that are also read apart.
        """
        found = self._read(inputs)
        if "part_ids" not in inputs:
            return found
        ids, mask = (inputs[name].flatten(0, 1) for name in ("part_ids", "part_mask"))
        single = {"input_ids": ids, "attention_mask": mask}
        apart = self._read(single)  # (2B, C)
        return join_pair(found, apart[::2], apart[1::2])

    def _read(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the embeddings (n_rows, C) of rows of tokens."""
        return self._embed(self._run(inputs), inputs)

    def _embed(self, hidden: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        """Return what the head reads (n_rows, C) of hidden states (B, T, C)."""
        return embed(hidden, inputs, self.pooling)

    def _run(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the last hidden states (B, T, C) of texts behind the prompt."""
        read = model_inputs(inputs)
        condition = self.adapter() if self._folded is None else self._folded
        if self.config.method == "prompt":
            return _behind_soft_prompt(self.backbone, read, condition)
        prefix_mechanism, split_layer = (
            self.backbone.prefix_mechanism,
            self.frozen.split_layer,
        )
        with self._edited(read["input_ids"].shape[1]):
            if split_layer is None:
                return prefix_mechanism.run(read, condition)
            states = self.frozen.states(inputs)
            return prefix_mechanism.run_upper(read, condition, split_layer, states)

    def _edited(self, length: int) -> AbstractContextManager[None]:
        """Refine the states of texts of so many tokens inside the block."""
        if self.text_adapter is None:
            return nullcontext()
        return editing(self.text_adapter.edits(), length)

    @contextmanager
    def folded(self) -> Iterator[None]:
        """Run the adapter once for all the forwards inside, without gradient."""
        with torch.inference_mode():
            self._folded = self.adapter()
            try:
                yield
            finally:
                self._folded = None


def _behind_soft_prompt(
    backbone: "Backbone", inputs: dict[str, Tensor], soft: Tensor
) -> Tensor:
    """Return the last hidden states (B, T, C) of texts behind a soft prompt (P, C)."""
    mask = inputs["attention_mask"]
    text = backbone.embed(inputs["input_ids"])  # (B, T, C)
    prompt = soft.to(text).expand(len(text), -1, -1)  # (B, P, C)
    seen = mask.new_ones(prompt.shape[:2])  # (B, P)
    joint = {
        "inputs_embeds": torch.cat([prompt, text], dim=1),
        "attention_mask": torch.cat([seen, mask], dim=1),
    }
    if "token_type_ids" in inputs:  # those of a pair; the prompt is of the first type
        types = inputs["token_type_ids"]
        joint["token_type_ids"] = torch.cat([torch.zeros_like(seen), types], dim=1)
    hidden = backbone.run(joint)
    return hidden[:, prompt.shape[1] :]


def _build_adapter(
    embeddings: Tensor,
    read: "PromptStates | None",
    backbone: "Backbone",
    config: ModuleConfig,
) -> nn.Module:
    """Build the adapter on what the backbone made of the prompt."""
    rank = config.adapter_rank if config.adapter == "low_rank" else None
    if read is None:
        if config.adapter == "embedding":
            return EmbeddingAdapter(embeddings)
        return PromptAdapter(embeddings, rank)
    tuned = _tuned_range(config.tuned_layers, read.n_layers)
    if config.adapter == "embedding":
        return EmbeddingAdapter(embeddings, _reader(backbone), read, tuned)
    return PrefixAdapter(read, tuned, rank)


def _build_text_adapter(
    read: "PromptStates | None", backbone: "Backbone", config: ModuleConfig
) -> TextAdapter | None:
    """Build what refines the texts' own states, if there is to be such a thing."""
    if read is None or config.text_rank == 0:
        return None
    make_visitable(backbone.model)
    tuned = _tuned_range(config.tuned_layers, read.n_layers)
    layers = [read.layers[i] for i in tuned]
    return TextAdapter(layers, backbone.hidden_size, config.text_rank)


def _frozen_features(
    embeddings: Tensor,
    read: "PromptStates | None",
    backbone: "Backbone",
    prompt_ids: list[int],
    config: ModuleConfig,
) -> FrozenFeatures:
    """Say how the module runs before its first step."""
    pooling = resolve_pooling(config.pooling, backbone.is_causal)
    pooling = "mean" if pooling == PAIR else pooling  # of each reading
    kind = (config.method, tuple(prompt_ids))
    if read is None:
        return FrozenFeatures(
            backbone,
            kind,
            pooling,
            lambda inputs: _behind_soft_prompt(backbone, inputs, embeddings),
        )
    prefix_mechanism, prefix = backbone.prefix_mechanism, read.prefix
    first = _tuned_range(config.tuned_layers, read.n_layers).start
    split_layer = SplitLayer(read.layers[first], first)
    return FrozenFeatures(
        backbone,
        (*kind, prefix_mechanism.name),
        pooling,
        lambda inputs: prefix_mechanism.run(inputs, prefix),
        prefix,
        split_layer if prefix_mechanism.can_split(read, split_layer) else None,
    )


def _reader(backbone: "Backbone") -> "Callable[[Tensor], PromptStates]":
    """Return a function that reads embeddings (1, P, C) with gradient."""

    def read_again(embeddings: Tensor) -> "PromptStates":
        return backbone.prefix_mechanism.read(embeddings.to(backbone.model.dtype))

    return read_again


def resolve_tuned_layers(
    tuned_layers: str | int | tuple[int, int], is_causal: bool
) -> str | int | tuple[int, int]:
    """Return what "auto" stands for: the upper layers of causal models, all of others.

    With Gemma 3 270M the upper two thirds are as good as all, in two thirds of the
    time; with MiniLM the uppermost layer alone costs six points.
    """
    if tuned_layers != "auto":
        return tuned_layers
    return "upper" if is_causal else "all"


def resolve_text_rank(
    text_rank: str | int, backbone: "Backbone", method: str, adapter: str
) -> int:
    """Return what "auto" stands for: a few dimensions.

    None with the forms of the paper, or where layers cannot be told apart.
    """
    if not isinstance(text_rank, str):
        return int(text_rank)
    if method != "prefix" or adapter != "low_rank":
        return 0
    try:
        make_visitable(backbone.model)
    except UnsupportedBackboneError:
        return 0
    return _TEXT_RANK


def _tuned_range(tuned_layers: str | int | tuple[int, int], n_layers: int) -> range:
    """Return the indices of the tuned layers: all, the top ones, or a range."""
    if tuned_layers == "all":
        return range(n_layers)
    if tuned_layers == "upper":
        return range(n_layers // 3, n_layers)
    if isinstance(tuned_layers, tuple | list):
        first, behind = tuned_layers
        tuned = range(int(first), int(behind))
    else:
        tuned = range(n_layers - int(tuned_layers), n_layers)
    if not (0 <= tuned.start < tuned.stop <= n_layers):
        raise ValueError(
            f"The 'tuned_layers' parameter must be 'all', at most {n_layers}, or a "
            f"range (first, behind the last) within (0, {n_layers}), for the number of "
            "layers of this backbone that are run and take a prefix (n_layers='all' "
            f"runs all of them). Got {tuned_layers!r} instead."
        )
    return tuned
