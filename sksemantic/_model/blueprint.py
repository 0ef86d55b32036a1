"""What has to be known, besides the trained values, to build a fitted module again."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sksemantic._backbone.device import resolve_dtype
from sksemantic._backbone.loading import BackboneSpec, load_backbone
from sksemantic._backbone.source import find_again
from sksemantic._inputs.prompt import Prompt
from sksemantic._inputs.template import Template
from sksemantic._model.module import ModuleConfig, SemanticModule

if TYPE_CHECKING:
    import torch

    from sksemantic._backbone.backbone import Backbone


@dataclass(frozen=True)
class Blueprint:
    """Everything that was decided when a module was built, in plain values.

    Of `spec`, the device is where it was fitted: it is decided anew when it is built.
    """

    spec: BackboneSpec
    prompt: str
    max_length: int
    config: ModuleConfig
    n_texts: int = 1

    @classmethod
    def draw(
        cls,
        backbone: "Backbone",
        spec: BackboneSpec,
        prompt: str,
        max_length: int | None,
        config: ModuleConfig,
        n_texts: int = 1,
    ) -> "tuple[Blueprint, Template]":
        """Check that prompt and texts fit the backbone, and fix what was left open.

        Raises
        ------
        ValueError
            If prompt, `max_length` or `tuned_layers` do not fit the backbone.
        UnsupportedBackboneError
            If the backbone takes no prefix.
        """
        parsed = Prompt.parse(prompt)
        spec = replace(spec, n_layers=backbone.n_layers)
        template = Template(backbone, parsed, config.method, max_length, n_texts)
        if config.method == "prefix":
            spec = replace(spec, prefix_mechanism=backbone.prefix_mechanism.name)
        return cls(spec, prompt, template.max_length, config, n_texts), template

    @property
    def prefix_mechanism(self) -> str | None:
        """How the backbone is given its prefix; None for a soft prompt."""
        return self.spec.prefix_mechanism if self.config.method == "prefix" else None

    def build(
        self, device: "torch.device", seed: int
    ) -> "tuple[SemanticModule, Template]":
        """Build the module around the shared backbone; its values depend on the seed.

        Raises
        ------
        BackboneNotFoundError
            If the weights are no longer there.
        """
        name = str(self.spec.dtype).removeprefix("torch.")
        spec = replace(
            self.spec,
            source=find_again(self.spec.source),
            device=device,
            dtype=resolve_dtype(name, device),
        )
        backbone = load_backbone(spec)
        prompt = Prompt.parse(self.prompt)
        template = Template(
            backbone, prompt, self.config.method, self.max_length, self.n_texts
        )
        module = SemanticModule.seeded(
            backbone, template.prompt_ids, self.config, seed=seed
        )
        return module, template
