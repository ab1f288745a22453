"""What acts: Twisted code that feeds events to the core and obeys its actions."""
