"""How fast the provider is, as ratios of one run to plain requests and to others; `make bench` runs it.

A row is a module with ``compared() -> Comparison``, named in ``__main__``.
"""
