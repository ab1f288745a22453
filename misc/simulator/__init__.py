"""Downloads in virtual time, by the plugin's own core, from thousands of imaginary servers."""
