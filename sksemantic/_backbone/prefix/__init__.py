"""How a frozen backbone is given a semantic prefix.

One interface, `PrefixMechanism`, and three mechanisms: `attention`, `kv_cache`,
`hidden_states`. Only `_backbone` knows transformers' models.
"""

from sksemantic._backbone.layers import cut, editing, make_visitable
from sksemantic._backbone.prefix.attention import make_joinable
from sksemantic._backbone.prefix.base import (
    PrefixMechanism,
    PromptStates,
    SplitLayer,
    agree,
    first_position,
    position_table,
    run_bare,
)
from sksemantic._backbone.prefix.choice import (
    PREFIX_MECHANISMS,
    choose_prefix_mechanism,
    is_self_test_on,
)

__all__ = [
    "PREFIX_MECHANISMS",
    "SplitLayer",
    "PrefixMechanism",
    "PromptStates",
    "agree",
    "choose_prefix_mechanism",
    "cut",
    "editing",
    "first_position",
    "is_self_test_on",
    "make_joinable",
    "make_visitable",
    "position_table",
    "run_bare",
]
