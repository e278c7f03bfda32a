"""Parquet that exists already: files, footers, Delta tables. No Spark."""
