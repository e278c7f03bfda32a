"""Bytes that a task keeps on its host's disk for all ranks of a job."""
