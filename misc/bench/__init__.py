"""The sweep: stock and fast side by side, over sizes, encodings, transports and wires.

``python3 misc/bench`` measures and keeps one JSON line a run; ``--report`` turns those
lines into its sections of docs/performance.md, the tables and the figures. Data goes
one way: ``cases`` -> ``agenda`` (what is due) -> ``sweep`` (alone, or on lanes) ->
``stage``, ``files``, ``measure`` and ``fetch`` -> ``results`` -> ``estimates`` ->
``tables``, ``plots``, ``report``, ``targets`` and ``advice``. ``studies`` and ``crowds``
measure apart, the latter with ``together`` in place of ``fetch``.
"""
