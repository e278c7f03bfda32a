"""Console commands. They import nothing else of sparkdl, so that they run where half of it is missing."""
