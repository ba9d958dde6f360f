"""One module per operation: how it is recognised, how boxes grow through it, what it costs and how it runs.

A module has rules by ATen operation: ``MAP_RULES`` for maps, ``FLAT_RULES`` for flattened maps, and
``VECTOR_RULES`` for vectors, which follow the last map.
"""
