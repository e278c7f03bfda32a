"""One rank's batches: read, shuffled, cut, every row once in an epoch. No Spark."""
