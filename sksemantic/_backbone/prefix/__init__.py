"""How a frozen backbone is given a semantic prefix: one interface, three mechanisms."""
