"""PEFT's prefix tuning on networks whose cache has another name than it expects."""

from inspect import signature


def rename_cache(network):
    """Let a network take its cache by the name that PEFT looks for.

    transformers 5.24 calls the argument `cache`, and PEFT 0.21 refuses such a network.
    """
    forward = network.forward
    named = signature(forward)
    if "cache" not in named.parameters:
        return

    def take_past_key_values(*args, past_key_values=None, **kwargs):
        return forward(*args, cache=past_key_values, **kwargs)

    # `Trainer` looks here for the columns that a network reads.
    take_past_key_values.__signature__ = named.replace(
        parameters=[
            each.replace(name="past_key_values") if name == "cache" else each
            for name, each in named.parameters.items()
        ]
    )
    network.forward = take_past_key_values
