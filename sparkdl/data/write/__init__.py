"""A DataFrame as packed rows in Parquet: its fields, a place for the files, and the one action that writes them."""

from sparkdl.data.write.fields import check_validation_column, declared_sizes, schema_of
from sparkdl.data.write.staging import StagingFolder, check_folder, choose_folder
from sparkdl.data.write.writer import Dataset, check_fill, materialize

__all__ = [
    "Dataset",
    "StagingFolder",
    "check_fill",
    "check_folder",
    "check_validation_column",
    "choose_folder",
    "declared_sizes",
    "materialize",
    "schema_of",
]
