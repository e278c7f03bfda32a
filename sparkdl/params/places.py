"""Where the packed rows lie, and which rows can be packed."""

from sparkdl.params import kinds
from sparkdl.params.setting import Setting, Settings


class HasCache(Settings):
    """The folder of the packed rows, and what becomes of values that are missing."""

    cacheUrl = Setting(
        kinds.text(),
        None,
        "folder for the packed rows that all executors can reach; where it is not set: spark.sparkdl.cacheUrl, "
        "a temporary folder on a local master, or fs.defaultFS",
    )
    storageOptions = Setting(
        kinds.options(), {}, "arguments of the file system of cacheUrl; never saved, logged or shown", secret=True
    )
    padValue = Setting(
        kinds.number(),
        None,
        "value behind the elements of shorter arrays and vectors, up to the longest; refused where it is not set",
    )
    fillValue = Setting(
        kinds.number(), None, "value in place of nulls in the inputs; nulls are refused where it is not set"
    )
