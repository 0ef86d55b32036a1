"""How a frozen backbone is given a semantic prefix.

One interface, `Injection`, and three mechanisms: `attention`, `cache`, `states`. This
package and `_backbone` are the only places that know transformers' models.
"""

from sksemantic._injection._base import (
    Entry,
    Injection,
    PromptStates,
    agree,
    first_position,
    position_table,
    run_bare,
)
from sksemantic._injection._choice import (
    INJECTIONS,
    choose_injection,
    is_self_test_on,
)
from sksemantic._injection._layers import cut, editing, make_visitable
from sksemantic._injection.attention import make_joinable

__all__ = [
    "INJECTIONS",
    "Entry",
    "Injection",
    "PromptStates",
    "agree",
    "choose_injection",
    "cut",
    "editing",
    "first_position",
    "is_self_test_on",
    "make_joinable",
    "make_visitable",
    "position_table",
    "run_bare",
]
