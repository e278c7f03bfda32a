"""A DataFrame as packed rows in Parquet: its fields, a place for the files, and the one action that writes them."""

from sparkdl.data.cache.lookup import Kept, keep, keeping_base
from sparkdl.data.write.fields import check_validation_column, schema_of
from sparkdl.data.write.staging import Place, choose_place
from sparkdl.data.write.writer import Dataset, materialize

__all__ = [
    "Dataset",
    "Kept",
    "Place",
    "check_validation_column",
    "choose_place",
    "keep",
    "keeping_base",
    "materialize",
    "schema_of",
]
