package sparkdl.fitting

import java.io.{BufferedReader, InputStreamReader}
import java.nio.charset.StandardCharsets.UTF_8
import java.util.UUID
import java.util.concurrent.{LinkedBlockingQueue, TimeUnit}

import scala.collection.mutable

import org.apache.spark.SparkContext
import org.apache.spark.api.java.JavaSparkContext
import org.apache.spark.scheduler.{SparkListener, SparkListenerApplicationEnd}
import org.apache.spark.sql.sparkdl.{PythonGateway, SparkInternals}
import org.slf4j.LoggerFactory

import sparkdl.SparkDLException
import sparkdl.scoring.{PythonProbe, PythonWorkers}

/**
 * A Python process beside the driver, which runs estimators on this JVM's own sessions and DataFrames.
 *
 * It ends when its standard input does: with the JVM, however that ends.
 */
class PythonDriver private (context: SparkContext) {
  private val log = LoggerFactory.getLogger("sparkdl.python")
  private val key = UUID.randomUUID().toString
  private val requests = new LinkedBlockingQueue[PythonRequest]
  private val lines = mutable.Queue.empty[String]
  private val gateway = new PythonGateway(context)
  private var running = 0
  private var left = false

  PythonDrivers.put(key, this)
  private val process = start()

  // Called by Python

  /** The JVM's context. */
  def javaContext(): JavaSparkContext = JavaSparkContext.fromSparkContext(context)

  /** The next request, or null if none comes within so many milliseconds. */
  def take(milliseconds: Long): PythonRequest = requests.poll(milliseconds, TimeUnit.MILLISECONDS)

  /** Whether Python may end: nobody waits for it, and from now on nobody will. */
  def leave(): Boolean = synchronized {
    if (running == 0) left = true
    left
  }

  // Called by stages

  /** Has a request answered; ends its Spark jobs if this thread is interrupted. */
  private def answer(request: PythonRequest): String =
    try {
      requests.put(request)
      Iterator.continually(awaited(request)).flatten.next()
    } catch {
      case error: InterruptedException =>
        context.cancelJobsWithTag(request.tag)
        throw error
    } finally synchronized(running -= 1)

  private def awaited(request: PythonRequest): Option[String] = {
    // Whether it lives is asked first: a process that answers and ends has answered.
    val alive = process.isAlive
    val found = request.await(PythonDriver.Look)
    if (found.isEmpty && !alive) {
      context.cancelJobsWithTag(request.tag)
      close()
      throw new SparkDLException(ended)
    }
    found
  }

  private def join(): Boolean = synchronized {
    val open = !left && process.isAlive
    if (open) running += 1
    open
  }

  private def close(): Unit = {
    process.destroy()
    if (!process.waitFor(PythonDriver.Patience, TimeUnit.SECONDS)) process.destroyForcibly()
    PythonDrivers.remove(key)
    gateway.shutdown()
  }

  private def start(): Process = {
    val python = PythonDriver.executable(context)
    val builder = new ProcessBuilder(python, "-u", "-m", "sparkdl.bridge.fitting", key)
    val environment = builder.environment
    environment.put("PYTHONPATH", SparkInternals.pythonPath())
    environment.put("PYSPARK_GATEWAY_PORT", gateway.port.toString)
    environment.put("PYSPARK_GATEWAY_SECRET", gateway.secret)
    environment.put("PYSPARK_PYTHON", PythonWorkers.executable(context))
    environment.put("PYSPARK_DRIVER_PYTHON", python)
    environment.put("PYSPARK_PIN_THREAD", "true")
    environment.remove("SPARK_REMOTE")
    builder.redirectErrorStream(true)
    val started = builder.start()
    read(started)
    started
  }

  /** Sends what Python prints into the log of the driver, and keeps its end for errors. */
  private def read(started: Process): Unit = {
    val reader = new BufferedReader(new InputStreamReader(started.getInputStream, UTF_8))
    val thread = new Thread(
      () =>
        Iterator.continually(reader.readLine()).takeWhile(_ != null).foreach { line =>
          log.info(line)
          lines.synchronized {
            lines.enqueue(line)
            if (lines.size > PythonDriver.KeptLines) lines.dequeue()
          }
        },
      "sparkdl-python-output"
    )
    thread.setDaemon(true)
    thread.start()
  }

  private def ended: String = {
    val code = process.waitFor()
    val how = if (code > 128) s"was ended by signal ${code - 128}" else s"ended with exit code $code"
    val tail = lines.synchronized(lines.mkString("\n"))
    s"the Python process that fits $how" + (if (tail.isEmpty) "" else s"; the end of its output:\n$tail")
  }
}

private[sparkdl] object PythonDriver {
  private val Look = 200L
  private val Patience = 5L
  private val KeptLines = 50
  private val drivers = mutable.Map.empty[String, PythonDriver]

  /** Has a request answered by the Python process of the application, which is started if there is none. */
  def ask(context: SparkContext, request: PythonRequest): String = joined(context).answer(request)

  /** The driver's Python, by Spark's own settings. */
  def executable(context: SparkContext): String = {
    val conf = context.getConf
    Seq("spark.pyspark.driver.python", "spark.pyspark.python")
      .flatMap(conf.getOption)
      .headOption
      .orElse(sys.env.get("PYSPARK_DRIVER_PYTHON"))
      .orElse(sys.env.get("PYSPARK_PYTHON"))
      .getOrElse("python3")
  }

  private def joined(context: SparkContext): PythonDriver = synchronized {
    val name = context.applicationId
    drivers.get(name).filter(_.join()).getOrElse {
      drivers.remove(name).foreach(_.close())
      // What it lacks is said in a sentence, before a gateway is open.
      val _ = PythonProbe.here(executable(context))
      val made = new PythonDriver(context)
      context.addSparkListener(new SparkListener {
        override def onApplicationEnd(end: SparkListenerApplicationEnd): Unit = made.close()
      })
      drivers(name) = made
      made.join()
      made
    }
  }
}
