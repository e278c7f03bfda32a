"""The driver's side: the barrier job, its restarts, its events, and its value or its one error."""
