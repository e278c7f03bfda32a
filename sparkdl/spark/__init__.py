"""The only room that knows pyspark's versions and Spark Connect."""
