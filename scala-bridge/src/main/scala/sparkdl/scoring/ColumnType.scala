package sparkdl.scoring

import scala.annotation.unused

import org.apache.spark.sql.{functions => F, Column}
import org.apache.spark.sql.sparkdl.SparkInternals.vectorType
import org.apache.spark.sql.types._

/**
 * One kind of column, as far as a driver has to know it: the twin of `sparkdl.data.types` in Python, which makes
 * tensors of what arrives there.
 */
private[scoring] sealed abstract class ColumnType(val kind: String) {

  /** Whether several such columns can become one tensor. */
  def stackable: Boolean = false

  /** Whether shorter rows can be padded, in their first dimension. */
  def paddable: Boolean = false

  /** Whether a value can stand for a null. */
  def fillable: Boolean = true

  /** Whether it holds images. */
  def pixels: Boolean = false

  /** Whether it tells of another field's columns. */
  def derived: Boolean = false

  /** Dimensions of a row if a column of that type is of this kind. */
  def dimensions(dataType: DataType): Option[Int]

  /** The expression that brings a field to Arrow; a null, inside arrays too, stays null. */
  def expression(field: Field): Column

  /** How deep the arrays of a field are nested, in which a null may hide. */
  def depth(@unused field: Field): Int = 0

  /** Whether a row of a field has no null, inside arrays too. */
  def present(field: Field, expression: Column): Column =
    if (depth(field) == 0) expression.isNotNull
    else expression.isNotNull && Expressions.allPresent(expression, depth(field))
}

private[scoring] object ColumnType {
  private val imageParts = Set("height", "width", "nChannels", "mode", "data")

  private object Scalar extends ColumnType("scalar") {
    override def stackable: Boolean = true
    def dimensions(dataType: DataType): Option[Int] = Expressions.dtypeOf(dataType).map(_ => 1)
    def expression(field: Field): Column =
      Expressions.number(field.columns.head, field.types.headOption.getOrElse(""), field.dtype)
  }

  private object Stacked extends ColumnType("stacked") {
    def dimensions(dataType: DataType): Option[Int] = None
    def expression(field: Field): Column = Expressions.stacked(field.columns, field.types, field.dtype)
    override def depth(@unused field: Field): Int = 1
  }

  private object Array extends ColumnType("array") {
    override def paddable: Boolean = true
    def dimensions(dataType: DataType): Option[Int] = {
      val (element, depth) = Expressions.elementOf(dataType)
      val isNumber = Expressions.dtypeOf(element).isDefined && Expressions.timeOf(element).isEmpty
      if (depth > 0 && isNumber) Some(depth) else None
    }
    def expression(field: Field): Column = Expressions.numbers(field.columns.head, field.dtype, field.shape.size)
    override def depth(field: Field): Int = field.shape.size
  }

  private object Vector extends ColumnType("vector") {
    override def paddable: Boolean = true
    def dimensions(dataType: DataType): Option[Int] = if (dataType == vectorType) Some(1) else None
    def expression(field: Field): Column =
      if (field.entries.isEmpty) Expressions.vectorNumbers(field.columns.head)
      else Expressions.vectorParts(field.columns.head)
  }

  private object Image extends ColumnType("image") {
    override def fillable: Boolean = false
    override def pixels: Boolean = true
    def dimensions(dataType: DataType): Option[Int] = dataType match {
      case BinaryType => Some(3)
      case parts: StructType if imageParts.subsetOf(parts.fieldNames.toSet) => Some(3)
      case _ => None
    }
    def expression(field: Field): Column = Expressions.column(field.columns.head)
  }

  private object Mask extends ColumnType("mask") {
    override def derived: Boolean = true
    def dimensions(dataType: DataType): Option[Int] = None
    def expression(field: Field): Column =
      if (field.types == Seq(Vector.kind)) Expressions.vectorSize(field.columns.head)
      else Expressions.arraySize(field.columns.head)
  }

  /** The kind of a stacked field. */
  val stacked: ColumnType = Stacked

  /** All kinds, in the order in which Python asks them. */
  val all: Seq[ColumnType] = Seq(Scalar, Stacked, Array, Vector, Image, Mask)

  private val byKind = all.map(each => each.kind -> each).toMap

  /** The kind of a field. */
  def of(field: Field): ColumnType = byKind(field.kind)

  /** Whether a row of a field can be scored: it has no null, inside arrays too, or nulls are filled. */
  def isValid(field: Field, expression: Column, fillValue: Option[Double]): Column =
    if (fillValue.isDefined && of(field).fillable) F.lit(true) else of(field).present(field, expression)
}
