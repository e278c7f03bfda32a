package sparkdl

import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Paths}
import java.util.{List => JavaList, Map => JavaMap}

import scala.collection.immutable.VectorMap
import scala.jdk.CollectionConverters._
import scala.util.Using

import org.apache.spark.ml.util.{MLReader, MLWritable, MLWriter}
import org.apache.spark.sql.{DataFrame, Dataset, SparkSession}
import org.apache.spark.sql.sparkdl.SparkInternals
import org.apache.spark.sql.types.StructType
import org.json4s.{DefaultFormats, Formats, JObject, JValue, MappingException}
import org.json4s.JsonDSL._
import org.json4s.jackson.JsonMethods.parse

import sparkdl.params.ModelParams
import sparkdl.persistence.{SavedStage, StageMetadata, StageParams}
import sparkdl.scoring._

/** A trained network as a Transformer; each task adds what it makes of the outputs. */
private[sparkdl] trait NetworkModel extends ModelParams with MLWritable {
  private implicit val formats: Formats = DefaultFormats

  // What is saved besides the Params. Copies share it: nothing ever writes into its folder, which is one of this
  // machine, so that a model which was serialized has none.
  @transient private[sparkdl] var saved: Option[SavedStage] = None
  @transient private var files: Option[NetworkFiles] = None
  private var shapes: Map[Seq[String], Map[String, Seq[Int]]] = Map.empty
  // Modules that the program named when it fitted this model; a file never adds to them.
  private[sparkdl] var imports: Seq[String] = Nil

  /** What becomes of the network's outputs, by the present Params. */
  private[sparkdl] def head: Head

  /** What the fit has measured: a map for each epoch. */
  def history: Seq[Map[String, Double]] = {
    val file = state.folder.resolve("history.json")
    parse(new String(Files.readAllBytes(file), UTF_8)).children.map {
      // In the order in which the fit has written them.
      case JObject(figures) => VectorMap.from(figures.map { case (name, value) => name -> NetworkModel.number(value) })
      case _ => Map.empty[String, Double]
    }
  }

  /** The same for Java. */
  def historyAsJava: JavaList[JavaMap[String, java.lang.Double]] =
    history.map(_.map { case (name, value) => name -> Double.box(value) }.asJava).asJava

  /** Bytes of the files that hold the network; a Spark Connect server limits the models of a session by it. */
  private[sparkdl] def bytes: Long = {
    val files = Using.resource(Files.list(state.folder))(_.iterator.asScala.toSeq)
    files.filter(Files.isRegularFile(_)).map(Files.size).sum
  }

  /** As Spark's own models are shown. */
  override def toString: String =
    s"${getClass.getSimpleName}: uid=$uid" + sizes.map { case (name, size) => s", $name=$size" }.mkString

  // Of what a fit or a load has filled; before that nothing is known.
  private[sparkdl] def sizes: Seq[(String, Int)] =
    if (Option(saved).flatten.isEmpty) Nil else Seq("numFeatures" -> numFeatures)

  /** Numbers of a row that go into the network, over all inputs. */
  def numFeatures: Int = trained.filter(_.kind != "mask").map(_.size).sum

  private[sparkdl] def state: SavedStage = Option(saved).flatten.getOrElse {
    throw new SparkDLException(s"this ${getClass.getSimpleName} holds no network: make it by fit or by load")
  }

  private[sparkdl] def extra(name: String): JValue = state.metadata \ "extra" \ name

  private[sparkdl] def outputShapes: Seq[Seq[Int]] = (state.metadata \ "outputs").extract[Seq[Seq[Int]]]

  private def trained: Seq[Field] = (state.metadata \ "schema").children.map(Field.fromJson)

  /** Reads what the metadata say, which a stranger may have written. */
  private[sparkdl] def check(): Unit = {
    if (trained.isEmpty) throw new NoSuchElementException("it has no inputs")
    NetworkFiles.check(state.folder)
    trained.foreach(field => Inputs.checkKind(field.kind))
    if (outputShapes.isEmpty) throw new NoSuchElementException("it has no outputs")
  }

  private[sparkdl] def addColumns(dataset: Dataset[_]): DataFrame = {
    val session = SparkInternals.sessionOf(dataset.toDF())
    SparkInternals.checkRunning(session)
    SparkVersion.check(session.version)
    plan(dataset.schema, Some(session)).addColumns(dataset.toDF(), network)
  }

  private[sparkdl] def addFields(schema: StructType): StructType =
    StructType(schema.fields ++ plan(schema, None).addedFields(schema))

  private def network: NetworkFiles = synchronized {
    files.getOrElse {
      val made = new NetworkFiles(state.folder)
      files = Some(made)
      made
    }
  }

  private def plan(schema: StructType, session: Option[SparkSession]): ScoringPlan = {
    val (param, columns) = inputColumns
    val layers = outputLayerColumns
    val inner =
      if (layers.isEmpty) Nil
      else
        layers.map { case (layer, column) =>
          layer -> OutputColumn.of(column, layerShapes(layers.map(_._1), session)(layer))
        }
    ScoringPlan(
      Inputs.bound(trained, columns, param, schema),
      trained,
      head,
      inner,
      getBatchSize,
      getDevice,
      getPrecision,
      getHandleInvalid,
      extra("fill_value").extractOpt[Double],
      extra("pad_value").extractOpt[Double],
      imports
    )
  }

  private def inputColumns: (String, Seq[Seq[String]]) =
    if (isSet(inputCols)) "inputCols" -> getInputCols.toSeq.map(Seq(_))
    else if (isSet(featuresCols)) "featuresCols" -> Seq(getFeaturesCols.toSeq)
    else "featuresCol" -> Seq(Seq(getFeaturesCol))

  private def outputLayerColumns: Seq[(String, String)] = Field.value(getOutputLayers) match {
    case JObject(layers) => layers.map { case (layer, column) => layer -> column.extract[String] }
    case _ => Nil
  }

  // Only a forward pass tells them, in a Python worker.
  private def layerShapes(layers: Seq[String], session: Option[SparkSession]): Map[String, Seq[Int]] = synchronized {
    shapes.getOrElse(
      layers, {
        val asked = SparkInternals.sessionOf(session.getOrElse(SparkSession.active).emptyDataFrame)
        val question = ("file" -> network.send(asked)) ~ ("trained" -> trained.map(_.toJson)) ~
          ("layers" -> layers) ~ ("imports" -> imports)
        val answer = PythonWorkers.layerShapes(asked, question)
        shapes += layers -> answer
        answer
      }
    )
  }

  /** Gives a copy what is saved besides the Params. */
  private[sparkdl] def shareWith[M <: NetworkModel](copy: M): M = {
    copy.saved = saved
    copy.imports = imports
    synchronized { copy.files = files }
    copy
  }

  override def write: MLWriter = new NetworkModelWriter(this)
}

private[sparkdl] object NetworkModel {

  // JSON has no word for what is no finite number; Python writes an object.
  private def number(value: JValue): Double = value match {
    case org.json4s.JInt(whole) => whole.toDouble
    case org.json4s.JLong(whole) => whole.toDouble
    case org.json4s.JDouble(number) => number
    case org.json4s.JDecimal(number) => number.toDouble
    case other =>
      other \ "v" match {
        case org.json4s.JString("nan") => Double.NaN
        case org.json4s.JString("inf") => Double.PositiveInfinity
        case org.json4s.JString("-inf") => Double.NegativeInfinity
        case _ => Double.NaN
      }
  }

  /** Fills a model with what a fit has saved of it, and the modules that the program named. */
  def fitted[M <: NetworkModel](model: M, saved: SavedStage, imports: Seq[String]): M = {
    model.imports = imports
    filled(model, saved, "the model")
  }

  /** Fills a model with what was saved of it. */
  def filled[M <: NetworkModel](model: M, saved: SavedStage, path: String): M = {
    StageParams.set(model, saved, path)
    model.saved = Some(saved)
    try model.check()
    catch {
      case error @ (_: MappingException | _: NoSuchElementException) =>
        throw new SparkDLException(s"$path: it is damaged: ${error.getMessage}", error)
    }
    model
  }
}

private class NetworkModelWriter(model: NetworkModel) extends MLWriter {
  override protected def saveImpl(path: String): Unit = write(path)

  // Where a Spark Connect server keeps the models of its sessions.
  override def saveToLocal(path: String): Unit = write(Paths.get(path).toUri.toString)

  private def write(path: String): Unit = {
    val state = model.state
    val kept = Seq("schema", "outputs", "extra").map(name => name -> (state.metadata \ name))
    SavedStage.save(sparkSession, path, StageMetadata.of(model, kept), Some(state.folder))
  }
}

/** Reads a model of the class that `make` makes. */
private[sparkdl] class NetworkModelReader[M <: NetworkModel](className: String, make: String => M) extends MLReader[M] {
  override def load(path: String): M = {
    SparkVersion.check(sparkSession.version)
    val saved = SavedStage.load(sparkSession, path, className)
    NetworkModel.filled(make(saved.uid), saved, path)
  }

  override def loadFromLocal(path: String): M = load(Paths.get(path).toUri.toString)
}
