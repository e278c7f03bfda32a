"""Checkpoints of a training: what is in one, the folder they lie in, and the thread that writes them."""
