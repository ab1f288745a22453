"""What people see: counters and the web page."""
