"""A DataFrame as packed rows in Parquet: its fields, a place for the files, and the one action that writes them."""

from sparkdl.data.write.fields import check_validation_column, declared_sizes, schema_of
from sparkdl.data.write.staging import Place, check_place, choose_place
from sparkdl.data.write.writer import Dataset, check_fill, materialize

__all__ = [
    "Dataset",
    "Place",
    "check_fill",
    "check_place",
    "check_validation_column",
    "choose_place",
    "declared_sizes",
    "materialize",
    "schema_of",
]
