"""What has to be known, besides the trained values, to build a fitted module again."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sksemantic._backbone import load_backbone
from sksemantic._data import Template
from sksemantic._device import resolve_dtype
from sksemantic._module import ModuleConfig, SemanticModule
from sksemantic._prompt import Prompt
from sksemantic._resolution import BackboneSource, find_again

if TYPE_CHECKING:
    import torch

    from sksemantic._backbone import Backbone


@dataclass(frozen=True)
class Blueprint:
    """Everything that was decided when a module was built, in plain values."""

    source: BackboneSource
    dtype: str
    injection: str | None
    prompt: str
    max_length: int
    config: ModuleConfig

    @classmethod
    def draw(
        cls,
        backbone: "Backbone",
        source: BackboneSource,
        prompt: str,
        max_length: int | None,
        config: ModuleConfig,
    ) -> "tuple[Blueprint, Template]":
        """Check that prompt and texts fit the backbone, and fix what was left open.

        Raises
        ------
        ValueError
            If prompt, `max_length` or `tuned_layers` do not fit the backbone.
        UnsupportedBackboneError
            If the backbone takes no prefix.
        """
        template = Template(backbone, Prompt.parse(prompt), config.method, max_length)
        dtype = str(backbone.model.dtype).removeprefix("torch.")
        injection = backbone.injection.name if config.method == "prefix" else None
        length = template.max_length
        return cls(source, dtype, injection, prompt, length, config), template

    def build(
        self, device: "torch.device", seed: int
    ) -> "tuple[SemanticModule, Template]":
        """Build the module around the shared backbone; its values depend on the seed.

        Raises
        ------
        BackboneNotFoundError
            If the weights are no longer there.
        """
        source = find_again(self.source)
        dtype = resolve_dtype(self.dtype, device)
        backbone = load_backbone(source, device, dtype, self.injection or "auto")
        prompt = Prompt.parse(self.prompt)
        template = Template(backbone, prompt, self.config.method, self.max_length)
        module = SemanticModule.seeded(
            backbone, template.prompt_ids, self.config, seed=seed
        )
        return module, template
