package sparkdl

import java.nio.file.{Files, Path}

import scala.util.Using

import org.apache.spark.ml.util.{MLReader, MLWritable, MLWriter}
import org.apache.spark.sql.{DataFrame, Dataset, SparkSession}
import org.apache.spark.sql.sparkdl.SparkInternals
import org.apache.spark.sql.types.{DataType, StructType}

import sparkdl.fitting.{PythonDriver, PythonRequest}
import sparkdl.params.TrainingParams
import sparkdl.persistence.{Names, SavedStage, StageMetadata, StageParams}
import sparkdl.scoring.PythonWorkers

/** An estimator whose network is trained on ranks, by the estimator of the same name in Python. */
private[sparkdl] trait TrainingStage extends TrainingParams with MLWritable {

  // Where this estimator was loaded from, if it was: networks among its Params lie there.
  @transient private[sparkdl] var saved: Option[SavedStage] = None

  /** Trains; returns what Python has saved of the model, and the modules that the program named for it. */
  private[sparkdl] def trained(dataset: Dataset[_]): (SavedStage, Seq[String]) = {
    val frame = dataset.toDF()
    val target = SparkInternals.temporaryFolder("sparkdl-model").toPath
    val names = namesToImport(frame.sparkSession)
    ask("fit", frame.sparkSession, names, frame, frame.schema, target)
    SavedStage.local(target) -> names.map(Names.moduleOf).distinct
  }

  private[sparkdl] def foreseen(schema: StructType): StructType = {
    val session = SparkSession.active
    val answer = ask("schema", session, namesToImport(session), null, schema, null)
    DataType.fromJson(answer).asInstanceOf[StructType]
  }

  private def ask(
      kind: String,
      session: SparkSession,
      names: Seq[String],
      frame: DataFrame,
      schema: StructType,
      target: Path
  ): String = {
    SparkInternals.checkRunning(session)
    SparkVersion.check(session.version)
    val folder = SparkInternals.temporaryFolder("sparkdl-stage").toPath
    try {
      SavedStage.save(session, folder.toUri.toString, StageMetadata.of(this, Nil), Option(saved).flatten.map(_.folder))
      val request = new PythonRequest(
        kind,
        session,
        folder.toString,
        secretsToJson,
        names.toArray,
        networkToTrain(session),
        frame,
        schema.json,
        if (target == null) "" else target.toString
      )
      PythonDriver.ask(session.sparkContext, request)
    } finally TrainingStage.remove(folder)
  }

  /** The names among the Params that Python may import: those that the program has given, and not a file. */
  private def namesToImport(session: SparkSession): Seq[String] = {
    // A text in a file becomes a name as well, so both are looked for in the same form.
    val params = Option(saved).flatten.toSeq.flatMap(_.params)
    val fromFile = params.flatMap { case (name, value) => Names.of(Names.toPython(name, value)) }.toSet
    val allowed = PythonWorkers.imports(session)
    val names = Names.of(StageParams.toJson(this)).distinct
    names.filter(name => !fromFile.contains(name) || allowed.contains(Names.moduleOf(name)))
  }

  /** The local folder of the saved model whose network is trained further: module = "saved:PATH". */
  private def networkToTrain(session: SparkSession): String =
    if (!isSet(module) || !getModule.startsWith(TrainingStage.Saved)) ""
    else {
      val path = getModule.stripPrefix(TrainingStage.Saved)
      val name = (SavedStage.metadataOf(session, path) \ "class").values.toString
      val stage = SavedStage.load(session, path, name)
      SavedStage.save(session, stage.folder.toUri.toString, stage.metadata, None)
      stage.folder.toString
    }

  private[sparkdl] def shareWith[E <: TrainingStage](copy: E): E = {
    copy.saved = saved
    copy
  }

  override def write: MLWriter = new TrainingStageWriter(this)
}

private[sparkdl] object TrainingStage {

  /** What `module` begins with where it is the path of a saved model. */
  val Saved = "saved:"

  def remove(folder: Path): Unit = {
    val files = Using.resource(Files.walk(folder))(_.toArray.map(_.asInstanceOf[Path]))
    files.reverse.foreach(Files.delete)
  }
}

private class TrainingStageWriter(stage: TrainingStage) extends MLWriter {
  override protected def saveImpl(path: String): Unit =
    SavedStage.save(sparkSession, path, StageMetadata.of(stage, Nil), Option(stage.saved).flatten.map(_.folder))
}

/** Reads an estimator of the class that `make` makes. */
private[sparkdl] class TrainingStageReader[E <: TrainingStage](className: String, make: String => E)
    extends MLReader[E] {
  override def load(path: String): E = {
    SparkVersion.check(sparkSession.version)
    val saved = SavedStage.load(sparkSession, path, className)
    val stage = make(saved.uid)
    StageParams.set(stage, saved, path)
    stage.saved = Some(saved)
    stage
  }
}
