package sparkdl.scoring

import org.apache.spark.ml.attribute.NominalAttribute
import org.apache.spark.ml.functions.array_to_vector
import org.apache.spark.sql.{functions => F, Column}
import org.apache.spark.sql.internal.SQLConf
import org.apache.spark.sql.sparkdl.SparkInternals.vectorType
import org.apache.spark.sql.types.{ArrayType, DataType, DoubleType, FloatType, Metadata, StructField, StructType}
import org.json4s.JValue
import org.json4s.JsonDSL._

import sparkdl.SparkDLException

/**
 * A column that a model adds: the twin of `sparkdl.scoring.outputs.OutputColumn` in Python.
 *
 * @param kind
 *   "double", "array" (of float, nested as deep as the shape is long) or "vector"
 * @param shape
 *   of one row
 * @param metadata
 *   of the column
 */
private[sparkdl] case class OutputColumn(
    name: String,
    kind: String,
    shape: Seq[Int] = Nil,
    metadata: Metadata = Metadata.empty
) {

  /** The type in which Python returns it. */
  def returned: DataType =
    shape.foldLeft[DataType](if (kind == OutputColumn.Array) FloatType else DoubleType)((inner, _) => ArrayType(inner))

  /** The field of the DataFrame that is returned. */
  def field: StructField =
    StructField(name, if (kind == OutputColumn.Vector) vectorType else returned, nullable = true, metadata)

  /** The column of the DataFrame, from what Python returns. */
  def column(value: Column): Column = {
    // array_to_vector fails on null.
    val made = if (kind == OutputColumn.Vector) F.when(value.isNotNull, array_to_vector(value)) else value
    made.as(name, metadata)
  }

  def toJson: JValue = ("name" -> name) ~ ("type" -> kind) ~ ("shape" -> shape)
}

private[sparkdl] object OutputColumn {
  val Double = "double"
  val Array = "array"
  val Vector = "vector"

  /** The column of an output of that shape: (n,) and (n, 1) become double, others arrays. */
  def of(name: String, shape: Seq[Int]): OutputColumn =
    if (shape.isEmpty || shape == Seq(1)) OutputColumn(name, Double) else OutputColumn(name, Array, shape)

  /**
   * Refuses names that are taken, by the DataFrame or by each other; spark.sql.caseSensitive says which are the same.
   */
  def checkNames(columns: Seq[OutputColumn], present: Seq[String]): Unit = {
    val same = SQLConf.get.resolver
    for ((column, index) <- columns.zipWithIndex) {
      val others = present ++ columns.take(index).map(_.name)
      if (others.exists(same(_, column.name))) {
        throw new SparkDLException(
          s"the output column '${column.name}' exists already: drop it, or give the model another name for it " +
            "(an empty name leaves it out)"
        )
      }
    }
  }

  /** The type of what Python returns for them all: of one column its own, of several a struct. */
  def returned(columns: Seq[OutputColumn]): DataType =
    if (columns.size == 1) columns.head.returned
    else StructType(columns.zipWithIndex.map { case (column, i) => StructField(i.toString, column.returned) })
}

/** What a task makes of the network's outputs: its columns, and its description for Python, which computes them. */
private[sparkdl] sealed trait Head {
  def columns: Seq[OutputColumn]
  def toJson: JValue
}

/** Every output of the network as a column. */
private[sparkdl] case class GenericHead(names: Seq[String], shapes: Seq[Seq[Int]]) extends Head {
  if (names.size != shapes.size) {
    throw new SparkDLException(
      s"the network has ${shapes.size} outputs, ${names.size} columns are named for them " +
        s"(${names.map(name => s"'$name'").mkString(", ")}): name one column for each in outputCols"
    )
  }

  def columns: Seq[OutputColumn] =
    names.zip(shapes).collect { case (name, shape) if name.nonEmpty => OutputColumn.of(name, shape) }

  def toJson: JValue = ("task" -> "generic") ~ ("names" -> names) ~ ("shapes" -> shapes)
}

/** One number for each row. */
private[sparkdl] case class RegressionHead(prediction: String) extends Head {
  def columns: Seq[OutputColumn] =
    if (prediction.isEmpty) Nil else Seq(OutputColumn(prediction, OutputColumn.Double))

  def toJson: JValue = ("task" -> "regression") ~ ("prediction" -> prediction)
}

/**
 * Spark ML's three columns of a classifier.
 *
 * @param labels
 *   of the classes, where a StringIndexer has numbered them
 */
private[sparkdl] case class ClassificationHead(
    rawPrediction: String,
    probability: String,
    prediction: String,
    classes: Int,
    thresholds: Option[Seq[Double]],
    labels: Seq[String]
) extends Head {
  def columns: Seq[OutputColumn] = Seq(
    OutputColumn(rawPrediction, OutputColumn.Vector, Seq(classes)),
    OutputColumn(probability, OutputColumn.Vector, Seq(classes)),
    OutputColumn(prediction, OutputColumn.Double, Nil, metadata)
  ).filter(_.name.nonEmpty)

  // IndexToString then finds the labels that StringIndexer has numbered.
  private def metadata: Metadata =
    if (labels.isEmpty || prediction.isEmpty) Metadata.empty
    else NominalAttribute.defaultAttr.withName(prediction).withValues(labels.toArray).toMetadata()

  def toJson: JValue =
    ("task" -> "classification") ~ ("raw_prediction" -> rawPrediction) ~ ("probability" -> probability) ~
      ("prediction" -> prediction) ~ ("classes" -> classes) ~ ("thresholds" -> thresholds)
}
