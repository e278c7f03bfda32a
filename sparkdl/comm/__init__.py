"""Ranks talking to each other; no Spark in here."""
