"""The profile of ticket #1264: what a client's reactor thread does during one download.

``python3 misc/profiling`` runs a stock and a fast node under twistd's profiler.
Data goes one way: ``measure`` runs the nodes, ``stats`` takes what is the
download's out of what they wrote, ``rows`` names the functions to look at,
``results`` keeps them and ``report`` shows them; ``debugging`` refuses what would
spoil it, ``callgrind`` exports it.
"""
