package sparkdl

import java.nio.file.{Files, Path}
import java.util.concurrent.TimeUnit

import scala.jdk.CollectionConverters._
import scala.util.Using

/** What becomes of a fit whose process, thread or jobs are ended by others. */
class ProcessSuite extends BridgeSuite {

  test("a Python process that is killed is one sentence, and the next fit has another") {
    val outcome = whileTraining("killed")(_ => fitting.foreach(_.destroyForcibly()))
    assert(outcome.getMessage.contains("the Python process that fits was ended by signal 9"))
    assert(share(pipeline(classifier).fit(rows).transform(rows)) > 0.85)
  }

  test("jobs that are cancelled end the fit") {
    val outcome = whileTraining("cancelled")(_ => spark.sparkContext.cancelAllJobs())
    assert(outcome.isInstanceOf[SparkDLException])
    assert(outcome.getMessage.contains("cancelled"))
  }

  test("a thread that is interrupted ends its fit") {
    val outcome = whileTraining("interrupted")(_.interrupt())
    assert(outcome.isInstanceOf[InterruptedException])
  }

  /** Does something once a rank trains, and returns how the fit failed; nothing of it is left then. */
  private def whileTraining(name: String)(action: Thread => Unit): Throwable = {
    val marks = Files.createDirectory(folder.resolve(name))
    val endless = classifier
      .setModule("tests.bridge.networks:Marking")
      .setModuleParams(Map[String, Any]("path" -> marks.resolve("process").toString, "inputs" -> 4, "outputs" -> 3))
      .setEpochs(1000000)
    @volatile var outcome: Option[Throwable] = None
    val fit = new Thread(() =>
      try { val _ = pipeline(endless).fit(rows) }
      catch { case error: Throwable => outcome = Some(error) }
    )
    fit.start()
    waitFor("a rank")(!fit.isAlive || ranks(marks).nonEmpty)
    assert(fit.isAlive, outcome.toString)
    action(fit)
    fit.join(TimeUnit.MINUTES.toMillis(2))
    waitFor("the end of the ranks")(!ranks(marks).exists(_.isAlive))
    waitFor("the end of the jobs")(spark.sparkContext.statusTracker.getActiveJobIds().isEmpty)
    outcome.get
  }

  /** The processes that the network has run in, but for the one that fits, which tries it first. */
  private def ranks(marks: Path): Seq[ProcessHandle] = {
    val names = Using.resource(Files.list(marks))(_.iterator.asScala.map(_.getFileName.toString).toSeq)
    val own = fitting.map(_.pid)
    val processes = names.map(_.stripPrefix("process.").toLong).filterNot(own.contains)
    processes.flatMap(pid => Option(ProcessHandle.of(pid).orElse(null)))
  }

  private def fitting: Option[ProcessHandle] =
    ProcessHandle.current().descendants().iterator.asScala.find { process =>
      process.info().commandLine().orElse("").contains("sparkdl.bridge.fitting")
    }

  private def waitFor(what: String)(condition: => Boolean): Unit = {
    val end = System.nanoTime() + TimeUnit.MINUTES.toNanos(2)
    while (!condition) {
      assert(System.nanoTime() < end, s"waited two minutes for $what")
      Thread.sleep(50)
    }
  }
}
