package sparkdl.scoring

import org.apache.spark.ml.functions.vector_to_array
import org.apache.spark.sql.{functions => F, Column}
import org.apache.spark.sql.types._

/** Columns as Arrow has to see them: the twin of `sparkdl.spark.columns` in Python. */
private[scoring] object Expressions {

  val Date = "date"
  val Timestamp = "timestamp"
  val TimestampNtz = "timestamp_ntz"
  val Fraction = "fraction"

  private val sparkTypes = Map("float32" -> "float", "float64" -> "double", "int64" -> "bigint")
  private val secondsTo1970 = 62135596800L

  /** "date", "timestamp" or "timestamp_ntz" for a type that is counted, "" for any other. */
  def timeOf(dataType: DataType): String = dataType match {
    case DateType => Date
    case TimestampType => Timestamp
    case TimestampNTZType => TimestampNtz
    case _ => ""
  }

  /** What `number` has to know of a column's type, for a tensor of that dtype. */
  def typeWord(dataType: DataType, dtype: String): String = dataType match {
    case FloatType | DoubleType if dtype == "int64" => Fraction
    case other => timeOf(other)
  }

  /** The dtype of a number's tensor; none for a type that is no number. */
  def dtypeOf(dataType: DataType): Option[String] = dataType match {
    case ByteType | ShortType | IntegerType | LongType | BooleanType => Some("int64")
    case other if timeOf(other).nonEmpty => Some("int64")
    case FloatType | DoubleType | _: DecimalType => Some("float32")
    case _ => None
  }

  /** The innermost element of nested arrays, and how deep it lies. */
  def elementOf(dataType: DataType, depth: Int = 0): (DataType, Int) = dataType match {
    case ArrayType(element, _) => elementOf(element, depth + 1)
    case other => (other, depth)
  }

  /** A name that Spark takes as one column, whatever dots, spaces or backticks it holds. */
  def quoted(name: String): String = "`" + name.replace("`", "``") + "`"

  def column(name: String): Column = F.col(quoted(name))

  /** A numeric column in the type of its tensor. */
  def number(name: String, time: String, dtype: String): Column = counted(name, time).cast(sparkTypes(dtype))

  /** A column of arrays, nested `dims` deep, with elements in the type of their tensor; nulls stay. */
  def numbers(name: String, dtype: String, dims: Int): Column =
    column(name).cast("array<" * dims + sparkTypes(dtype) + ">" * dims)

  /** Numeric columns as one array; a null in one of them is a null element. */
  def stacked(names: Seq[String], times: Seq[String], dtype: String): Column =
    F.array(names.zipAll(times, "", "").map { case (name, time) => number(name, time, dtype) }: _*)

  /** How many elements an array has; null for a null. */
  def arraySize(name: String): Column = F.when(column(name).isNotNull, F.size(column(name)))

  /** Whether arrays nested `depth` deep hold no null. */
  def allPresent(value: Column, depth: Int): Column =
    if (depth == 1) F.forall(value, _.isNotNull)
    else F.forall(value, item => item.isNotNull && allPresent(item, depth - 1))

  /** Spark ML vectors as the struct that Spark keeps them in: type, size, indices, values. */
  def vectorParts(name: String): Column = F.unwrap_udt(column(name))

  /** Spark ML vectors as arrays of doubles: dense ones as Spark keeps them, without a copy. */
  def vectorNumbers(name: String): Column = {
    val parts = vectorParts(name)
    // vector_to_array makes objects of a row and of each of its numbers. A null has neither indices nor values.
    F.when(parts.getField("indices").isNull, parts.getField("values")).otherwise(vector_to_array(column(name)))
  }

  /** How many numbers a vector has; null for a null. */
  def vectorSize(name: String): Column = {
    val parts = vectorParts(name)
    F.when(parts.isNotNull, F.coalesce(parts.getField("size"), F.size(parts.getField("values"))))
  }

  private def counted(name: String, time: String): Column = time match {
    case Date => F.unix_date(column(name))
    case Timestamp => F.unix_seconds(column(name))
    case TimestampNtz =>
      // Differences are cut towards 0: from the year 1 on that is down.
      val since = F.expr(s"timestampdiff(SECOND, timestamp_ntz'0001-01-01 00:00:00', ${quoted(name)})")
      since - F.lit(secondsTo1970)
    // A cast of NaN would be 0, or an error of Spark's.
    case Fraction => F.when(!F.isnan(column(name)), column(name))
    case _ => column(name)
  }
}
