// Made by docs/make_params.py from the declarations in sparkdl/params/feed.py: change those.
package sparkdl.params

import org.apache.spark.ml.param.{BooleanParam, DoubleParam, Param}

/** How the rows are fed, the folder of the packed rows, and what becomes of values that are missing. */
trait HasCache extends HasSecrets {

  /**
   * How the rows reach the ranks: parquet, by files that all executors can reach; direct, as Arrow streams that the
   * ranks' hosts spool to their disks, without any shared folder.
   */
  final val feed: Param[String] = new Param[String](
    this,
    "feed",
    "how the rows reach the ranks: parquet, by files that all executors can reach; direct, as Arrow streams " +
      "that the ranks' hosts spool to their disks, without any shared folder",
    Kinds.choice("parquet", "direct")
  )

  /**
   * Returns feed: how the rows reach the ranks: parquet, by files that all executors can reach; direct, as Arrow
   * streams that the ranks' hosts spool to their disks, without any shared folder.
   */
  final def getFeed: String = $(feed)

  /**
   * Folder for the packed rows that all executors can reach; where it is not set: spark.sparkdl.cacheUrl, a temporary
   * folder on a local master, or fs.defaultFS.
   */
  final val cacheUrl: Param[String] = new Param[String](
    this,
    "cacheUrl",
    "folder for the packed rows that all executors can reach; where it is not set: spark.sparkdl.cacheUrl, a " +
      "temporary folder on a local master, or fs.defaultFS",
    Kinds.text(false)
  )

  /**
   * Returns cacheUrl: folder for the packed rows that all executors can reach; where it is not set:
   * spark.sparkdl.cacheUrl, a temporary folder on a local master, or fs.defaultFS.
   */
  final def getCacheUrl: String = $(cacheUrl)

  /** Arguments of the file system of cacheUrl and checkpointUrl; never saved, logged or shown. */
  private[sparkdl] final val storageOptions: Secret = new Secret(
    "storageOptions",
    "arguments of the file system of cacheUrl and checkpointUrl; never saved, logged or shown",
    "{}",
    "a dict with names as keys",
    Kinds.options
  )

  private[sparkdl] final def getStorageOptions: String = secretOf(storageOptions)

  /** Value behind the elements of shorter arrays and vectors, up to the longest; refused where it is not set. */
  final val padValue: DoubleParam = new DoubleParam(
    this,
    "padValue",
    "value behind the elements of shorter arrays and vectors, up to the longest; refused where it is not set",
    Kinds.number()
  )

  /**
   * Returns padValue: value behind the elements of shorter arrays and vectors, up to the longest; refused where it is
   * not set.
   */
  final def getPadValue: Double = $(padValue)

  /**
   * Whether the network gets, behind its inputs, a mask for each one that padValue applies to: (n, k) bool, true where
   * an element is its own and not padding.
   */
  final val padMask: BooleanParam = new BooleanParam(
    this,
    "padMask",
    "whether the network gets, behind its inputs, a mask for each one that padValue applies to: (n, k) bool, " +
      "true where an element is its own and not padding"
  )

  /**
   * Returns padMask: whether the network gets, behind its inputs, a mask for each one that padValue applies to: (n, k)
   * bool, true where an element is its own and not padding.
   */
  final def getPadMask: Boolean = $(padMask)

  /** Whether inputs that are vectors reach the network as torch's sparse tensors (COO). */
  final val sparseTensors: BooleanParam = new BooleanParam(
    this,
    "sparseTensors",
    "whether inputs that are vectors reach the network as torch's sparse tensors (COO)"
  )

  /** Returns sparseTensors: whether inputs that are vectors reach the network as torch's sparse tensors (COO). */
  final def getSparseTensors: Boolean = $(sparseTensors)

  /** Value in place of nulls in the inputs; nulls are refused where it is not set. */
  final val fillValue: DoubleParam = new DoubleParam(
    this,
    "fillValue",
    "value in place of nulls in the inputs; nulls are refused where it is not set",
    Kinds.number()
  )

  /** Returns fillValue: value in place of nulls in the inputs; nulls are refused where it is not set. */
  final def getFillValue: Double = $(fillValue)

  setDefault(feed -> "parquet", padMask -> false, sparseTensors -> false)
}
