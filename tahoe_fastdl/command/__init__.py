"""``tahoe-fastdl``: switches the plugin on and off in a node's tahoe.cfg, and says what works.

Pure: ``cfg_text`` (tahoe.cfg as text) and ``verdict`` (what was found out, in words).
The rest touches the world: ``node_dir`` the node directory, ``running`` the node that
runs, ``checks`` the environment; ``main`` is the command line.
"""
