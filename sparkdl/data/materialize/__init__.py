"""A DataFrame as packed rows in Parquet: its fields, a place for the files, and the one action that writes them."""

from sparkdl.data.materialize.fields import check_validation_column, schema_of
from sparkdl.data.materialize.place import Place, choose_place
from sparkdl.data.materialize.write import Dataset, materialize

__all__ = ["Dataset", "Place", "check_validation_column", "choose_place", "materialize", "schema_of"]
