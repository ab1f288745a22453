"""What decides: pure code without Twisted, clock, I/O or logging."""
