"""Rows below ``cacheUrl``: content-addressed, leased, evicted when unused."""
