"""How near a download is to what this machine allows, and to what others do.

``python3 misc/floor`` measures the parts that no download can do without, each by
itself: ``fetch`` (a), ``prove`` (b) and ``serve`` (c), each a process of its own
that takes ``orders`` from a ``helper``. ``parts`` asks them, ``scene`` makes the real
downloads, ``measure`` has both in turn, ``figures`` reckons, ``report`` writes.
``--others`` compares with curl and aria2: ``nginx``, ``web``, ``others``, ``comparison``.
Raw results of either are kept by ``lines``.
"""
