"""How a frozen backbone is given a semantic prefix.

One interface, `PrefixMechanism`, and three mechanisms: `attention`, `kv_cache`,
`hidden_states`.
"""
