package org.apache.spark.sql.sparkdl

import java.io.File
import java.nio.file.Path
import java.util.{Collections, List => JavaList, Map => JavaMap}
import java.util.concurrent.CompletableFuture

import _root_.sparkdl.SparkDLException
import org.apache.hadoop.conf.Configuration
import org.apache.spark.JobArtifactSet
import org.apache.spark.SparkContext
import org.apache.spark.SparkFiles
import org.apache.spark.api.python.{Py4JServer, PythonEvalType, PythonUtils, SimplePythonFunction}
import org.apache.spark.ml.linalg.SQLDataTypes
import org.apache.spark.sql.{classic, Column, DataFrame, SparkSession}
import org.apache.spark.sql.execution.python.UserDefinedPythonFunction
import org.apache.spark.sql.types.DataType
import org.apache.spark.util.Utils

/**
 * What the bridge needs of Spark that is not public: the only file that may change from one minor version of Spark to
 * the next.
 */
object SparkInternals {

  /**
   * Makes a function over Arrow batches, in Python, into a function of columns.
   *
   * @param command
   *   a pickled pair of the function and the type of what it returns
   * @param includes
   *   names of files that tasks find in their folder of files and put on `sys.path`
   */
  def arrowIteratorFunction(
      name: String,
      command: Array[Byte],
      returns: DataType,
      python: String,
      pythonVersion: String,
      environment: JavaMap[String, String],
      includes: JavaList[String]
  ): Seq[Column] => Column = {
    val function = new SimplePythonFunction(
      command,
      environment,
      includes,
      python,
      pythonVersion,
      Collections.emptyList(),
      null
    )
    val made = UserDefinedPythonFunction(
      name,
      function,
      returns,
      PythonEvalType.SQL_SCALAR_ARROW_ITER_UDF,
      udfDeterministic = true
    )
    columns => made(columns: _*)
  }

  /** Sends a file to every executor, for the jobs of this session and those of no session. */
  def addFile(session: SparkSession, file: Path): Unit = {
    // A job that runs with the artifacts of a session gets the files of that session alone. In spark-shell a session
    // has none of its own: null, as for the jobs of no session.
    val state = session.asInstanceOf[classic.SparkSession].artifactManager.state
    for (each <- Seq(null, state).distinct) {
      JobArtifactSet.withActiveJobArtifactState(each)(session.sparkContext.addFile(file.toUri.toString))
    }
  }

  /** The session of a DataFrame, of the classic kind. */
  def sessionOf(dataset: DataFrame): classic.SparkSession =
    dataset.sparkSession.asInstanceOf[classic.SparkSession]

  /** What tells a session from all others, of other applications too. */
  def sessionName(session: classic.SparkSession): String = session.sparkContext.applicationId + session.sessionUUID

  /** Refuses a session whose application has ended. */
  def checkRunning(session: SparkSession): Unit =
    if (session.sparkContext.isStopped) {
      throw new SparkDLException("the Spark application has been stopped: create a session with SparkSession.builder")
    }

  /** The settings of a session's file systems. */
  def hadoopConf(session: SparkSession): Configuration =
    session.asInstanceOf[classic.SparkSession].sessionState.newHadoopConf()

  /** A folder of this process, removed when the JVM ends. */
  def temporaryFolder(prefix: String): File = Utils.createTempDir(namePrefix = prefix)

  /** The folder from which this application's executors fetch files; removed when the application ends. */
  def filesFolder(): File = new File(SparkFiles.getRootDirectory())

  /** Where Python finds pyspark and py4j, and what the environment adds to it. */
  def pythonPath(): String =
    PythonUtils.mergePythonPaths(PythonUtils.sparkPythonPath, sys.env.getOrElse("PYTHONPATH", ""))

  /** The properties that Spark gives to the jobs of this thread. */
  def localProperties(context: SparkContext): java.util.Properties = Utils.cloneProperties(context.getLocalProperties)

  /** Gives the jobs of this thread the properties of another. */
  def setLocalProperties(context: SparkContext, properties: java.util.Properties): Unit =
    context.setLocalProperties(properties)

  /** Spark ML's vectors. */
  val vectorType: DataType = SQLDataTypes.VectorType
}

/** The way by which Python reaches this JVM: py4j, as Spark's own launcher of Python programs starts it. */
class PythonGateway(context: SparkContext) {
  private val server = started()

  /** The port and the secret that a Python process needs. */
  def port: Int = server.getListeningPort

  def secret: String = server.secret

  def shutdown(): Unit = server.shutdown()

  /** Made in a thread that is a daemon, which its own threads inherit: others would keep the JVM from its end. */
  private def started(): Py4JServer = {
    val made = new CompletableFuture[Py4JServer]
    val starter = new Thread(
      () =>
        try {
          val server = new Py4JServer(context.conf)
          server.start()
          val _ = made.complete(server)
        } catch { case error: Throwable => val _ = made.completeExceptionally(error) },
      "sparkdl-gateway"
    )
    starter.setDaemon(true)
    starter.start()
    made.get()
  }
}
