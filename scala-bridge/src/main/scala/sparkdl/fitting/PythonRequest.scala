package sparkdl.fitting

import java.util.UUID
import java.util.concurrent.{CompletableFuture, TimeUnit, TimeoutException}

import org.apache.spark.sql.{DataFrame, SparkSession}
import org.apache.spark.sql.sparkdl.SparkInternals

import sparkdl.SparkDLException

/**
 * Something that the Python process is asked to do; Python calls its methods over py4j.
 *
 * @param kind
 *   "fit": the answer is the folder of the model; "schema": the answer is the schema that transform will return
 * @param stage
 *   local folder of the saved estimator
 * @param secrets
 *   JSON of what no folder may hold: the options of file systems
 * @param names
 *   of classes and functions that the program gave, and that Python may import
 * @param network
 *   local folder of the saved model whose network is trained; empty for none
 * @param dataset
 *   to fit on; null for a schema
 * @param schema
 *   JSON of the DataFrame's schema
 * @param target
 *   local folder for the model
 */
class PythonRequest private[sparkdl] (
    val kind: String,
    val session: SparkSession,
    val stage: String,
    val secrets: String,
    val names: Array[String],
    val network: String,
    val dataset: DataFrame,
    val schema: String,
    val target: String
) {
  // What is wrong and the traceback, or the answer.
  private val result = new CompletableFuture[Either[(String, String), String]]
  private val properties = SparkInternals.localProperties(session.sparkContext)

  /** Tag of all Spark jobs of this request. */
  val tag: String = s"sparkdl-${UUID.randomUUID()}"

  /** Called by Python in the thread that serves the request: its jobs are those of the thread that asked. */
  def begin(): Unit = {
    SparkInternals.setLocalProperties(session.sparkContext, properties)
    session.sparkContext.addJobTag(tag)
  }

  def succeed(answer: String): Unit = { val _ = result.complete(Right(answer)) }

  def fail(said: String, traceback: String): Unit = { val _ = result.complete(Left(said -> traceback)) }

  /** The answer, if it comes within so many milliseconds; what is wrong is thrown here, where the program asked. */
  private[fitting] def await(milliseconds: Long): Option[String] =
    try
      result.get(milliseconds, TimeUnit.MILLISECONDS) match {
        case Right(answer) => Some(answer)
        case Left((said, traceback)) => throw new SparkDLException(said, null, traceback)
      }
    catch { case _: TimeoutException => None }
}

/** What Python finds by name in this JVM: `PythonDrivers.get(key)`. */
object PythonDrivers {
  private val drivers = new java.util.concurrent.ConcurrentHashMap[String, PythonDriver]

  def get(key: String): PythonDriver = drivers.get(key)

  private[fitting] def put(key: String, driver: PythonDriver): Unit = { val _ = drivers.put(key, driver) }

  private[fitting] def remove(key: String): Unit = { val _ = drivers.remove(key) }
}
