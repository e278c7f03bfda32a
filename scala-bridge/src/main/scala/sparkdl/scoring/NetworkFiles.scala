package sparkdl.scoring

import java.io.{FileOutputStream, OutputStream}
import java.nio.file.{Files, Path, StandardCopyOption}
import java.security.{DigestOutputStream, MessageDigest}
import java.util.zip.{Deflater, ZipEntry, ZipOutputStream}

import scala.collection.mutable
import scala.jdk.CollectionConverters._
import scala.util.Using

import org.apache.spark.sql.classic
import org.apache.spark.sql.sparkdl.SparkInternals

/**
 * The files of a saved network in a local folder, and their way to the executors: one archive, named by its content,
 * that each executor fetches and unpacks once.
 */
private[sparkdl] class NetworkFiles(folder: Path) {

  // Made at the first use: a model that is only saved again is never packed.
  private lazy val archive: Path = NetworkFiles.pack(folder)

  /** Makes the network available to the executors of a session; returns the name of its file. */
  def send(session: classic.SparkSession): String = NetworkFiles.synchronized {
    val name = archive.getFileName.toString
    val receivers = SparkInternals.sessionName(session)
    val sent = NetworkFiles.sent.getOrElseUpdate(receivers, mutable.Set.empty)
    if (!sent.contains(name)) {
      // Executors fetch it from the driver whenever they start, so it has to stay as long as the application does.
      val kept = SparkInternals.filesFolder().toPath.resolve(name)
      if (!Files.exists(kept)) Files.copy(archive, kept, StandardCopyOption.REPLACE_EXISTING)
      SparkInternals.addFile(session, kept)
      sent += name
    }
    name
  }
}

private[sparkdl] object NetworkFiles {
  private val parts = Seq("network.json", "network.pkl", "weights.safetensors", "weights.pt")
  private val sent = mutable.Map.empty[String, mutable.Set[String]]

  /** Refuses a folder without a network. */
  def check(folder: Path): Unit = {
    val described = Files.isRegularFile(folder.resolve("network.json"))
    val weights = Seq("weights.safetensors", "weights.pt").exists(name => Files.isRegularFile(folder.resolve(name)))
    if (!described) throw new NoSuchElementException("network.json is missing")
    if (!weights) throw new NoSuchElementException("weights.safetensors is missing")
  }

  private def pack(folder: Path): Path = {
    val target = SparkInternals.temporaryFolder("sparkdl-ship").toPath
    val unnamed = target.resolve("network.zip")
    val digest = MessageDigest.getInstance("SHA-256")
    Using.resource(new DigestOutputStream(new FileOutputStream(unnamed.toFile), digest))(write(folder, _))
    val name = digest.digest().take(16).map(byte => f"$byte%02x").mkString
    Files.move(unnamed, target.resolve(s"sparkdl-$name.zip"))
  }

  private def write(folder: Path, out: OutputStream): Unit = {
    val zip = new ZipOutputStream(out)
    // Weights hardly shrink.
    zip.setLevel(Deflater.NO_COMPRESSION)
    val files = Using.resource(Files.list(folder))(_.iterator.asScala.toSeq)
    for (file <- files.filter(file => parts.contains(file.getFileName.toString)).sorted) {
      val entry = new ZipEntry(file.getFileName.toString)
      // The name of the archive is that of its content: no time of day in it.
      entry.setTime(0)
      zip.putNextEntry(entry)
      Files.copy(file, zip)
      zip.closeEntry()
    }
    zip.finish()
  }
}
