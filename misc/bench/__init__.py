"""The sweep: stock and fast side by side, over sizes, encodings, transports and wires.

``python3 misc/bench`` measures and keeps one JSON line a run; ``--report`` turns
those lines into docs/performance.md and its figures. Data goes one way:
``cases`` -> ``sweep`` -> ``stage`` and ``measure`` -> ``results`` -> ``report`` and ``plots``.
"""
