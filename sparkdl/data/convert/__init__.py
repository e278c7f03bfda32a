"""Arrow arrays, vectors and images to tensors and back. No Spark."""
