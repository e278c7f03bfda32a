"""How the packed rows reach the ranks, where they lie, and which rows can be packed."""

from sparkdl.params import kinds
from sparkdl.params.setting import Setting, Settings


class HasCache(Settings):
    """How the rows are fed, the folder of the packed rows, and what becomes of values that are missing."""

    feed = Setting(
        kinds.one_of("parquet", "direct"),
        "parquet",
        "how the rows reach the ranks: parquet, by files that all executors can reach; direct, as Arrow streams that "
        "the ranks' hosts spool to their disks, without any shared folder",
    )
    cacheUrl = Setting(
        kinds.text(),
        None,
        "folder for the packed rows that all executors can reach; where it is not set: spark.sparkdl.cacheUrl, "
        "a temporary folder on a local master, or fs.defaultFS",
    )
    storageOptions = Setting(
        kinds.options(),
        {},
        "arguments of the file system of cacheUrl and checkpointUrl; never saved, logged or shown",
        secret=True,
    )
    padValue = Setting(
        kinds.number(),
        None,
        "value behind the elements of shorter arrays and vectors, up to the longest; refused where it is not set",
    )
    padMask = Setting(
        kinds.flag(),
        False,
        "whether the network gets, behind its inputs, a mask for each one that padValue applies to: (n, k) bool, true "
        "where an element is its own and not padding",
    )
    sparseTensors = Setting(
        kinds.flag(), False, "whether inputs that are vectors reach the network as torch's sparse tensors (COO)"
    )
    fillValue = Setting(
        kinds.number(), None, "value in place of nulls in the inputs; nulls are refused where it is not set"
    )
