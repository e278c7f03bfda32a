"""What packed rows look like: the layout of a row, the manifest, the statistics. No Spark."""
