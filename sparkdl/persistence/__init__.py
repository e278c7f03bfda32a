"""Stages and models as JSON and tensors in directories of Spark's file systems."""

from sparkdl.persistence.grid_value import GridValue
from sparkdl.persistence.networks import read_network, write_network
from sparkdl.persistence.stage import Savable, read_stage, write_stage
from sparkdl.persistence.trusted import is_trusted, trusted

__all__ = [
    "GridValue",
    "Savable",
    "is_trusted",
    "read_network",
    "read_stage",
    "trusted",
    "write_network",
    "write_stage",
]
