package sparkdl.scoring

import org.apache.commons.text.similarity.LevenshteinDistance
import org.apache.spark.sql.types.{DataType, StructType}

import sparkdl.SparkDLException

/** The columns of a DataFrame as the inputs of a network: the twin of `sparkdl.scoring.inputs` in Python. */
private[sparkdl] object Inputs {
  private val mostNames = 20

  /**
   * The inputs of a network with the columns they are read from now.
   *
   * @param fields
   *   as the network was trained; masks, which come last, follow the columns of what they mask
   * @param columns
   *   for each input that is no mask
   * @param param
   *   the Param that names them
   */
  def bound(fields: Seq[Field], columns: Seq[Seq[String]], param: String, schema: StructType): Seq[Field] = {
    val (masks, own) = fields.partition(ColumnType.of(_).derived)
    if (columns.size != own.size) {
      val inputs = if (own.size == 1) "1 input" else s"${own.size} inputs"
      throw new SparkDLException(
        s"the network has $inputs, and columns for ${columns.size} are named (${listed(columns.flatten)}): " +
          "set inputCols, or featuresCols for columns that are one input together"
      )
    }
    val bound = own.zip(columns).map { case (field, names) => boundField(field, names, param, schema) }
    val masked = own
      .zip(bound)
      .collect {
        case (before, now) if ColumnType.of(now).paddable => before.columns -> now
      }
      .toMap
    bound ++ masks.map(mask =>
      mask.copy(columns = masked(mask.columns).columns, types = Seq(masked(mask.columns).kind))
    )
  }

  /** Refuses a kind of column that this version does not know. */
  def checkKind(kind: String): Unit =
    if (!ColumnType.all.exists(_.kind == kind)) throw new NoSuchElementException(s"it has a field of the kind '$kind'")

  /** A field of the network with the columns it is read from now, and their kind. */
  private def boundField(field: Field, columns: Seq[String], param: String, schema: StructType): Field = {
    val types = columns.map(typeOf(_, param, schema))
    val kinds = columns.zip(types).map { case (name, dataType) => kindOf(name, dataType, field, param) }
    if (columns.size > 1) {
      columns.zip(kinds).find(!_._2.stackable).foreach { case (name, _) =>
        throw misfit(name, "is stacked with others and must hold numbers, one for each row", param)
      }
    }
    val kind = if (columns.size > 1) ColumnType.stacked.kind else kinds.head.kind
    if (kinds.head.stackable && columns.size != field.size) {
      val numbers = if (columns.size == 1) "1 number" else s"${columns.size} numbers"
      throw new SparkDLException(
        s"${listed(columns)} gives $numbers for each row, the network was made for ${field.size}: " +
          s"give a column of arrays or vectors, or ${field.size} names in featuresCols"
      )
    }
    val words = types.map(Expressions.typeWord(_, field.dtype))
    field.copy(
      columns = columns,
      kind = kind,
      types = if (words.exists(_.nonEmpty)) words else Nil,
      entries = if (kind == field.kind) field.entries else None
    )
  }

  private def typeOf(name: String, param: String, schema: StructType): DataType = {
    val exact = schema.fields.filter(_.name == name)
    val found = if (exact.nonEmpty) exact else schema.fields.filter(_.name.equalsIgnoreCase(name))
    if (found.isEmpty) {
      val names = schema.fieldNames.toSeq
      val hint = closest(name, names).fold("")(near => s", did you mean ${shown(near)}?")
      val has = if (names.isEmpty) "no columns" else listed(names, mostNames)
      throw misfit(name, s"is missing in the DataFrame$hint (it has $has)", param)
    }
    if (found.length > 1) {
      throw misfit(name, s"stands ${found.length} times in the DataFrame: rename all but one of them", param)
    }
    found.head.dataType
  }

  private def kindOf(name: String, dataType: DataType, field: Field, param: String): ColumnType = {
    val candidates = ColumnType.all.filterNot(_.pixels && !ColumnType.of(field).pixels)
    val shape = if (field.shape.size == 1) s"(${field.shape.head},)" else field.shape.mkString("(", ", ", ")")
    val kind = candidates.find(_.dimensions(dataType).isDefined).getOrElse {
      throw misfit(
        name,
        s"is of type ${dataType.simpleString}, the network was trained on ${field.kind} rows of the shape $shape: " +
          "convert the column",
        param
      )
    }
    val depth = kind.dimensions(dataType).get
    if (kind.paddable && depth != field.shape.size) {
      throw misfit(
        name,
        s"holds arrays nested $depth deep, the network was made for rows of the shape $shape " +
          s"(${field.size} numbers): bring the column to that shape",
        param
      )
    }
    kind
  }

  private def misfit(name: String, said: String, param: String): SparkDLException =
    if (param.endsWith("Cols")) new SparkDLException(s"column ${shown(name)} of $param $said")
    else new SparkDLException(s"$param=${shown(name)} $said")

  private def closest(name: String, known: Seq[String]): Option[String] = {
    val near =
      known.map(each => LevenshteinDistance.getDefaultInstance.apply(name.toLowerCase, each.toLowerCase) -> each)
    near.sortBy(_._1).headOption.collect { case (distance, each) if distance <= (name.length + 2) / 3 => each }
  }

  private def listed(names: Seq[String], most: Int = Int.MaxValue): String = {
    val more = if (names.size > most) s" and ${names.size - most} more" else ""
    names.take(most).map(shown).mkString(", ") + more
  }

  private def shown(name: String): String = s"'$name'"
}
