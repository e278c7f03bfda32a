package sparkdl.persistence

import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path => LocalPath}

import scala.jdk.CollectionConverters._
import scala.util.{Success, Try, Using}

import org.apache.hadoop.fs.{FileSystem, FileUtil, Path}
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.sparkdl.SparkInternals
import org.json4s.{DefaultFormats, Formats, JNothing, JObject, JValue}
import org.json4s.jackson.JsonMethods.{compact, parse, render}

import sparkdl.SparkDLException

/**
 * A saved stage in a local folder: its metadata, and the files beside them. Its layout is that of the Python package,
 * so that either side reads what the other has written.
 */
private[sparkdl] case class SavedStage(metadata: JObject, folder: LocalPath) {
  private implicit val formats: Formats = DefaultFormats

  def className: String = (metadata \ "class").extract[String]

  def uid: String = (metadata \ "uid").extract[String]

  /** The values of Params by name, those that were set and the defaults. */
  def params: Map[String, JValue] = fields("paramMap")

  def defaults: Map[String, JValue] = fields("defaultParamMap")

  private def fields(name: String): Map[String, JValue] = metadata \ name match {
    case JObject(values) => values.toMap
    case _ => Map.empty
  }
}

private[sparkdl] object SavedStage {
  private implicit val formats: Formats = DefaultFormats

  /** The format that this version writes; it reads earlier ones as well. */
  val FormatVersion = 2

  private val Metadata = "metadata"
  private val mostMetadata = 16 << 20

  /** Reads a local folder that Python has written. */
  def local(folder: LocalPath): SavedStage = {
    val files = Using.resource(Files.list(folder.resolve(Metadata)))(_.iterator.asScala.toSeq)
    val part = files.find(_.getFileName.toString.startsWith("part-")).get
    SavedStage(parse(new String(Files.readAllBytes(part), UTF_8)).asInstanceOf[JObject], folder)
  }

  /** Reads a folder of Spark's file systems; its files are copied to this machine. */
  def load(session: SparkSession, path: String, expected: String): SavedStage = {
    val (system, root) = at(session, path)
    val metadata = read(system, root, path)
    val found = (metadata \ "class").extractOpt[String].getOrElse("")
    if (found != expected) {
      throw new SparkDLException(s"$path: it holds a $found, not a $expected: load it as that, or with SparkDL.load")
    }
    (metadata \ "formatVersion").extractOpt[Int] match {
      case Some(version) if version >= 1 && version <= FormatVersion =>
      case other =>
        val writer = (metadata \ "sparkdlVersion").extractOpt[String].getOrElse("of another version")
        throw new SparkDLException(
          s"$path: it has format version ${other.getOrElse("none")}, this sparkdl reads 1 to $FormatVersion: " +
            s"load it with sparkdl $writer"
        )
    }
    val folder = SparkInternals.temporaryFolder("sparkdl-model")
    for (status <- system.listStatus(root) if status.getPath.getName != Metadata) {
      FileUtil.copy(system, status.getPath, new java.io.File(folder, status.getPath.getName), false, system.getConf)
    }
    SavedStage(metadata, folder.toPath)
  }

  /** The metadata of whatever stage lies at a path. */
  def metadataOf(session: SparkSession, path: String): JObject = {
    val (system, root) = at(session, path)
    read(system, root, path)
  }

  /** Writes a stage to Spark's file systems; metadata come last, so that a folder which has them is whole. */
  def save(session: SparkSession, path: String, metadata: JObject, folder: Option[LocalPath]): Unit = {
    val (system, root) = at(session, path)
    system.mkdirs(root)
    val files = folder.toSeq.flatMap(each => Using.resource(Files.list(each))(_.iterator.asScala.toSeq))
    for (file <- files.sorted if file.getFileName.toString != Metadata) {
      FileUtil.copy(file.toFile, system, new Path(root, file.getFileName.toString), false, system.getConf)
    }
    val target = new Path(root, Metadata)
    write(system, new Path(target, "part-00000"), compact(render(metadata)) + "\n")
    write(system, new Path(target, "_SUCCESS"), "")
  }

  private def at(session: SparkSession, path: String): (FileSystem, Path) = {
    val root = new Path(path)
    (root.getFileSystem(SparkInternals.hadoopConf(session)), root)
  }

  private def read(system: FileSystem, root: Path, path: String): JObject = {
    val folder = new Path(root, Metadata)
    val parts = if (system.exists(folder)) system.listStatus(folder).toSeq else Nil
    val part = parts.filter(each => each.getPath.getName.startsWith("part-") && each.getLen > 0)
    val file = part.sortBy(_.getPath.getName).headOption.getOrElse {
      throw new SparkDLException(s"$path: there is no saved stage (no metadata/part-00000 in it)")
    }
    if (file.getLen > mostMetadata) {
      throw new SparkDLException(s"$path: its metadata have ${file.getLen} bytes, $mostMetadata are read at most")
    }
    val bytes = Using.resource(system.open(file.getPath))(_.readAllBytes())
    Try(parse(new String(bytes, UTF_8))) match {
      case Success(value: JObject) if (value \ "class") != JNothing && (value \ "uid") != JNothing => value
      case _ => throw new SparkDLException(s"$path: its metadata are damaged: no JSON object with class and uid")
    }
  }

  private def write(system: FileSystem, path: Path, text: String): Unit =
    Using.resource(system.create(path, true))(_.write(text.getBytes(UTF_8)))
}
