"""A rank: a process of its own, watched by a watchdog."""
