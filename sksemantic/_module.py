"""The one forward there is: adapter, backbone, pooling, head."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sksemantic._adapters import EmbeddingAdapter, PrefixAdapter, PromptAdapter
from sksemantic._pooling import pool, resolve_pooling

if TYPE_CHECKING:
    from sksemantic._backbone import Backbone
    from sksemantic._injection import PromptStates
    from sksemantic._injection._base import Prefix

# While training. Both keep few texts from being learned by heart.
_DROPOUT = 0.3  # of the features that the head reads
_TOKEN_DROPOUT = 0.1  # of the tokens, but for texts read off at their last one


@dataclass(frozen=True)
class ModuleConfig:
    """What, besides the backbone, decides a module's shape."""

    method: str
    adapter: str
    adapter_rank: int
    tuned_layers: str | int
    pooling: str
    n_outputs: int


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
        self.pooling = resolve_pooling(config.pooling, backbone.is_causal)
        self.adapter = _build_adapter(backbone, prompt_ids, config).to(backbone.device)
        self.dropout = nn.Dropout(_DROPOUT)
        self.head = nn.Linear(backbone.hidden_size, config.n_outputs)
        self.feature_mean: Tensor
        self.feature_scale: Tensor
        self.register_buffer("feature_mean", torch.zeros(backbone.hidden_size))
        self.register_buffer("feature_scale", torch.ones(backbone.hidden_size))
        self._folded: Any = None
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

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits, or standardised targets, (B, K)."""
        if self.training and self.pooling != "last":
            attention_mask = _drop_tokens(attention_mask)
        features = self.features(input_ids, attention_mask)
        standardised = (features - self.feature_mean) / self.feature_scale
        return self.head(self.dropout(standardised))

    def features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the pooled, prompt-conditioned embeddings (B, C) in float32."""
        condition = self.adapter() if self._folded is None else self._folded
        if self.config.method == "prefix":
            hidden = self._behind_prefix(input_ids, attention_mask, condition)
        else:
            hidden = self._behind_soft_prompt(input_ids, attention_mask, condition)
        return pool(hidden, attention_mask, self.pooling)

    @contextmanager
    def folded(self) -> Iterator[None]:
        """Run the adapter once for all the forwards inside, without gradient."""
        with torch.no_grad():
            self._folded = self.adapter()
            try:
                yield
            finally:
                self._folded = None

    def _behind_prefix(
        self, input_ids: Tensor, mask: Tensor, prefix: "Prefix"
    ) -> Tensor:
        inputs = {"input_ids": input_ids, "attention_mask": mask}
        return self.backbone.injection.run(inputs, prefix)

    def _behind_soft_prompt(
        self, input_ids: Tensor, mask: Tensor, soft: Tensor
    ) -> Tensor:
        text = self.backbone.embed(input_ids)  # (B, T, C)
        prompt = soft.to(text).expand(len(text), -1, -1)  # (B, P, C)
        seen = mask.new_ones(prompt.shape[:2])  # (B, P)
        hidden = self.backbone.run(
            {
                "inputs_embeds": torch.cat([prompt, text], dim=1),
                "attention_mask": torch.cat([seen, mask], dim=1),
            }
        )
        return hidden[:, prompt.shape[1] :]


def _drop_tokens(mask: Tensor) -> Tensor:
    """Hide a random share of the tokens (B, T), never a text's first one."""
    kept = torch.rand(mask.shape, device=mask.device) >= _TOKEN_DROPOUT
    kept[:, 0] = True
    return mask * kept


def _build_adapter(
    backbone: "Backbone", prompt_ids: list[int], config: ModuleConfig
) -> nn.Module:
    """Read the prompt once, without gradient, and build the adapter on it."""
    rank = config.adapter_rank if config.adapter == "low_rank" else None
    with torch.no_grad():
        ids = torch.tensor(prompt_ids, device=backbone.device)
        embeddings = backbone.embed(ids)  # (P, C)
        if config.method == "prompt":
            if config.adapter == "embedding":
                return EmbeddingAdapter(embeddings)
            return PromptAdapter(embeddings, rank)
        read = backbone.injection.read(embeddings[None])
    tuned = _tuned_range(config.tuned_layers, read.n_layers)
    if config.adapter == "embedding":
        return EmbeddingAdapter(embeddings, _reader(backbone), read, tuned)
    return PrefixAdapter(read, tuned, rank)


def _reader(backbone: "Backbone") -> "Callable[[Tensor], PromptStates]":
    """Return a function that reads embeddings (1, P, C) with gradient."""

    def read_again(embeddings: Tensor) -> "PromptStates":
        return backbone.injection.read(embeddings.to(backbone.model.dtype))

    return read_again


def _tuned_range(tuned_layers: str | int, n_layers: int) -> range:
    """Return the indices of the top `tuned_layers` layers."""
    if tuned_layers == "all":
        return range(n_layers)
    n_tuned = int(tuned_layers)
    if n_tuned > n_layers:
        raise ValueError(
            f"The 'tuned_layers' parameter must be 'all' or at most {n_layers}, the "
            f"number of layers of this backbone. Got {n_tuned} instead."
        )
    return range(n_layers - n_tuned, n_layers)
