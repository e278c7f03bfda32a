"""Rows that reach ranks without a shared folder: packed by tasks, sent as Arrow streams, spooled where ranks run."""
