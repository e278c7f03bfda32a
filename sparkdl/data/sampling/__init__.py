"""Which rows are in which step: pure functions of the manifest, a seed and a few numbers."""
