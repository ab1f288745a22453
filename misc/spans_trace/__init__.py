"""The spans trace: what the bookkeeping of received and wanted data costs, event by event.

``python3 misc/spans_trace`` records real downloads and replays what was recorded, as
Tahoe's ``misc/simulators/bench_spans.py`` did for one implementation (ticket #1264).
Data goes one way: ``traced_node`` is a client that notes with ``tracer`` every call
that ``operations`` names; ``record`` runs such clients; ``traces`` reads what they
wrote; ``replay`` calls it all again against the real classes, ``translate`` makes stock's
events into ours; ``measure`` times that, ``results`` keeps it, ``figure`` and ``report``
show it.
"""
