package sparkdl.scoring

import org.apache.spark.sql.{functions => F, Column, DataFrame}
import org.apache.spark.sql.sparkdl.SparkInternals
import org.apache.spark.sql.types.{StructField, StructType}
import org.json4s.JObject
import org.json4s.JsonDSL._

/**
 * How rows become columns: the twin of `sparkdl.scoring.score_plan.ScoringPlan` in Python, which gets it as JSON.
 *
 * @param inputs
 *   of the network, bound to the columns of the DataFrame
 * @param trained
 *   the same, as the network was trained
 * @param layers
 *   names of inner layers, and the columns they become
 * @param imports
 *   modules of the user's that define the network
 */
private[sparkdl] case class ScoringPlan(
    inputs: Seq[Field],
    trained: Seq[Field],
    head: Head,
    layers: Seq[(String, OutputColumn)],
    batchSize: Int,
    device: String,
    precision: String,
    handleInvalid: String,
    fillValue: Option[Double],
    padValue: Option[Double],
    imports: Seq[String]
) {

  /** The columns that are added, in order. */
  def columns: Seq[OutputColumn] = head.columns ++ layers.map(_._2)

  /** The fields behind those of a schema. */
  def addedFields(schema: StructType): Seq[StructField] = {
    OutputColumn.checkNames(columns, schema.fieldNames.toSeq)
    columns.map(_.field)
  }

  /** The DataFrame with the columns of the plan behind its own. */
  def addColumns(dataset: DataFrame, network: NetworkFiles): DataFrame = {
    OutputColumn.checkNames(columns, dataset.columns.toSeq)
    val expressions = inputs.map(field => ColumnType.of(field).expression(field))
    val valid = if (handleInvalid == "skip") {
      // Before the function and on its inputs: a filter on its output would make Spark compute it twice.
      val present = inputs.zip(expressions).map { case (field, value) => ColumnType.isValid(field, value, fillValue) }
      dataset.filter(present.reduce(_ && _))
    } else dataset
    if (columns.isEmpty) valid else scored(valid, expressions, network)
  }

  private def scored(dataset: DataFrame, expressions: Seq[Column], network: NetworkFiles): DataFrame = {
    val session = SparkInternals.sessionOf(dataset)
    val function = PythonWorkers.scorer(session, toJson(network.send(session), session.sparkContext.isLocal), returned)
    // As in Python: a columnar scan cannot feed Python workers where one of its columns is a UDT. The filter lets all
    // rows pass and makes Spark form them; other filters move through it to the scan.
    val columnar = session.conf.getOption("spark.sql.execution.arrow.pythonUDF.columnarInput.enabled")
    val all = F.forall(F.array().cast("array<boolean>"), identity)
    val rows = if (columnar.exists(_.toBoolean)) dataset.filter(all) else dataset
    // Spark computes equal expressions once: the same call for every column costs one pass.
    val result = function(expressions)
    val values = if (columns.size == 1) Seq(result) else columns.indices.map(i => result.getField(i.toString))
    rows.select(F.col("*") +: values.zip(columns).map { case (value, column) => column.column(value) }: _*)
  }

  private def returned = OutputColumn.returned(columns)

  private def toJson(file: String, local: Boolean): JObject =
    ("file" -> file) ~ ("local" -> local) ~ ("inputs" -> inputs.map(_.toJson)) ~
      ("trained" -> trained.map(_.toJson)) ~ ("head" -> head.toJson) ~ ("layers" -> layers.map(_._1)) ~
      ("layer_columns" -> layers.map(_._2.toJson)) ~ ("batch_size" -> batchSize) ~ ("device" -> device) ~
      ("precision" -> precision) ~ ("handle_invalid" -> handleInvalid) ~ ("fill_value" -> fillValue) ~
      ("pad_value" -> padValue) ~ ("imports" -> imports)
}
