"""The soak: many readers for a long time, over servers that keep dying and returning.

``python3 misc/soak`` runs it, keeps one JSON line for each part and one for the whole,
and writes its section of docs/reliability.md. Data goes one way: ``trouble`` (servers)
and ``readers`` (web downloads) -> ``stage`` (parts, and what is left at rest) ->
``verdict`` -> ``report``.
"""
