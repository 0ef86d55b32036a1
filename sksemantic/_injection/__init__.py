"""How a frozen backbone is given a semantic prefix.

One interface, `Injection`; one mechanism so far, `attention.AttentionInjection`. This
package and `_backbone` are the only places that know transformers' models.
"""

from sksemantic._injection._base import Injection, PromptStates
from sksemantic._injection.attention import AttentionInjection

__all__ = ["AttentionInjection", "Injection", "PromptStates"]
