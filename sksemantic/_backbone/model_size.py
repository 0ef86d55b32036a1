"""How large a model would be, before any of it is made."""

from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModel

from sksemantic._backbone.weight_files import most_numbers
from sksemantic.exceptions import UnsupportedBackboneError

if TYPE_CHECKING:
    from sksemantic._backbone.source import BackboneSource


def check_model_size(
    source: "BackboneSource", n_found: int, options: dict[str, Any]
) -> None:
    """Refuse a directory whose config makes a model much larger than its weights.

    transformers gives memory to whatever is not in the files, before it says so.

    Parameters
    ----------
    source : BackboneSource
    n_found : int
        How many numbers the weights have.
    options : dict
        Of transformers' `from_pretrained`.

    Raises
    ------
    UnsupportedBackboneError
    """
    if source.gguf_file is not None or not n_found:  # the header has been compared
        return
    config = AutoConfig.from_pretrained(source.location, **options)
    is_packed = getattr(config, "quantization_config", None) is not None
    with torch.device("meta"):  # shapes alone
        model = AutoModel.from_config(config, trust_remote_code=False)
    tensors = [*model.parameters(), *model.buffers()]
    n_expected = sum(tensor.numel() for tensor in tensors)
    if n_expected > most_numbers(n_found, is_packed=is_packed):
        raise UnsupportedBackboneError(
            f"The weights of model={source.name!r} ({source.location}) must be those "
            f"of its config.json, which makes a {type(model).__name__} of "
            f"{n_expected:,} numbers. Got {n_found:,} numbers instead. Save the whole "
            "model with `save_pretrained`."
        )
