package sparkdl

/**
 * What every error of sparkdl is: one sentence that says what is wrong and what to do.
 *
 * @param pythonTraceback
 *   where it arose in Python; empty if it arose in the JVM
 */
class SparkDLException(message: String, cause: Throwable, val pythonTraceback: String)
    extends RuntimeException(
      if (pythonTraceback.isEmpty) message else s"$message\n\nIn Python:\n$pythonTraceback",
      cause
    ) {
  def this(message: String) = this(message, null, "")
  def this(message: String, cause: Throwable) = this(message, cause, "")
}
