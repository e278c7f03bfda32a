"""A DataFrame as packed rows in Parquet: its fields, a place for the files, and the one action that writes them."""

from sparkdl.data.materialize.fields import check_validation_column, schema_of
from sparkdl.data.materialize.keep import Kept, keep, keeping_base
from sparkdl.data.materialize.place import Place, choose_place
from sparkdl.data.materialize.write import Dataset, materialize

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
