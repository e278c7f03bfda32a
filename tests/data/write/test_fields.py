"""What every type of column becomes, and the sentence for what cannot go in. No Spark session."""

from __future__ import annotations

import sys
import warnings

import pytest
from pyspark.ml.linalg import MatrixUDT, VectorUDT
from pyspark.mllib.linalg import VectorUDT as OldVectorUDT
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    NullType,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
    VariantType,
)

from sparkdl.data.write import check_validation_column, schema_of
from sparkdl.errors import DataError, SettingError
from sparkdl.schema import (
    ARRAY,
    DATE,
    IMAGE,
    INPUT,
    LABEL,
    MASK,
    SCALAR,
    STACKED,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    VECTOR,
    WEIGHT,
    DataSchema,
    Field,
)

IMAGE_STRUCT = StructType(
    [
        StructField("origin", StringType()),
        *(StructField(name, IntegerType()) for name in ("height", "width", "nChannels", "mode")),
        StructField("data", BinaryType()),
    ]
)


def frame(**types: DataType) -> StructType:
    return StructType([StructField(name, kind) for name, kind in types.items()])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (BooleanType(), (SCALAR, "int64", (1,))),
        (ByteType(), (SCALAR, "int64", (1,))),
        (ShortType(), (SCALAR, "int64", (1,))),
        (IntegerType(), (SCALAR, "int64", (1,))),
        (LongType(), (SCALAR, "int64", (1,))),
        (FloatType(), (SCALAR, "float32", (1,))),
        (DoubleType(), (SCALAR, "float32", (1,))),
        (DecimalType(20, 2), (SCALAR, "float32", (1,))),
        (ArrayType(DoubleType()), (ARRAY, "float32", (-1,))),
        (ArrayType(ArrayType(IntegerType())), (ARRAY, "int64", (-1, -1))),
        (VectorUDT(), (VECTOR, "float32", (-1,))),
        (BinaryType(), (IMAGE, "float32", (3, -1, -1))),
        (IMAGE_STRUCT, (IMAGE, "float32", (3, -1, -1))),
    ],
)
@pytest.mark.parametrize("role", [INPUT, LABEL])
def test_what_goes_in(kind: DataType, expected: tuple[str, str, tuple[int, ...]], role: str) -> None:
    inputs = [("x", ("c",))] if role == INPUT else []
    schema = schema_of(frame(c=kind), inputs=inputs, labels=["c"] if role == LABEL else [], weight=None)
    assert schema.fields == (Field("x" if role == INPUT else "c", role, expected[0], ("c",), *expected[1:]),)


@pytest.mark.parametrize(
    ("kind", "counted"), [(DateType(), DATE), (TimestampType(), TIMESTAMP), (TimestampNTZType(), TIMESTAMP_NTZ)]
)
def test_dates_and_timestamps_are_whole_numbers(kind: DataType, counted: str) -> None:
    columns = frame(c=kind, n=LongType())
    schema = schema_of(columns, inputs=[("x", ("c",)), ("s", ("n", "c"))], labels=["c"], weight=None)
    assert [(f.kind, f.dtype, f.shape, f.types) for f in schema.fields] == [
        (SCALAR, "int64", (1,), (counted,)),
        (STACKED, "int64", (2,), ("", counted)),
        (SCALAR, "int64", (1,), (counted,)),
    ]
    assert DataSchema.from_json(schema.to_json()) == schema
    with pytest.raises(DataError, match="'c' is .* cannot be a weight"):
        schema_of(columns, inputs=[], labels=[], weight="c")


def test_a_timestamp_that_loses_seconds_is_said() -> None:
    columns = frame(t=TimestampType(), d=DateType(), x=DoubleType())
    with pytest.warns(UserWarning, match="'t' is a timestamp stacked with fractions"):
        schema_of(columns, inputs=[("s", ("t", "x"))], labels=[], weight=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert schema_of(columns, inputs=[("s", ("d", "x"))], labels=[], weight=None).fields[0].dtype == "float32"


def test_masks_come_behind_the_inputs_they_belong_to() -> None:
    columns = frame(a=ArrayType(IntegerType()), n=DoubleType(), v=VectorUDT(), m=ArrayType(ArrayType(FloatType())))
    schema = schema_of(
        columns, inputs=[(name, (name,)) for name in "anvm"], labels=["n"], weight=None, masks=True, sparse=True
    )
    assert [(f.name, f.kind, f.columns, f.dtype, f.types) for f in schema.inputs[4:]] == [
        ("a (mask)", MASK, ("a",), "bool", (ARRAY,)),
        ("v (mask)", MASK, ("v",), "bool", (VECTOR,)),
        ("m (mask)", MASK, ("m",), "bool", (ARRAY,)),
    ]
    assert [f.shape for f in schema.inputs if f.columns == ("m",)] == [(-1, -1), (-1,)]
    assert [f.sparse for f in schema.inputs[:4]] == [False, False, True, False]
    with pytest.raises(SettingError, match="padMask is set, and no input"):
        schema_of(columns, inputs=[("n", ("n",))], labels=[], weight=None, masks=True)
    with pytest.raises(SettingError, match="sparseTensors is set, and no input"):
        schema_of(columns, inputs=[("a", ("a",))], labels=[], weight=None, sparse=True)


def test_columns_are_stacked_and_the_weight_comes_last() -> None:
    schema = schema_of(
        frame(a=IntegerType(), b=DoubleType(), c=LongType(), w=IntegerType()),
        inputs=[("ab", ("a", "b")), ("ac", ("a", "c"))],
        labels=["b", "c"],
        weight="w",
    )
    assert [(f.name, f.role, f.kind, f.dtype, f.shape) for f in schema.fields] == [
        ("ab", INPUT, STACKED, "float32", (2,)),
        ("ac", INPUT, STACKED, "int64", (2,)),
        ("b", LABEL, SCALAR, "float32", (1,)),
        ("c", LABEL, SCALAR, "int64", (1,)),
        ("w", WEIGHT, SCALAR, "float32", (1,)),
    ]


def test_one_column_may_be_input_label_and_weight() -> None:
    schema = schema_of(frame(x=DoubleType()), inputs=[("x", ("x",))], labels=["x"], weight="x")
    assert [f.name for f in schema.fields] == ["x", "x (label)", "x (weight)"]
    assert {f.columns for f in schema.fields} == {("x",)}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (StringType(), ["'c' is string", "StringIndexer"]),
        (ArrayType(DateType()), ["'c' is array<date>", "F.unix_date"]),
        (ArrayType(TimestampType()), ["array<timestamp>", "by F.transform"]),
        (DayTimeIntervalType(), ["'c' is interval day to second", "cast it to a number"]),
        (VariantType(), ["'c' is variant", "cast it to a number"]),
        (NullType(), ["'c' is void", "cast it to a number"]),
        (ArrayType(StringType()), ["array<string>", "StringIndexer"]),
        (ArrayType(VectorUDT()), ["'c'", "VectorAssembler"]),
        (MapType(StringType(), DoubleType()), ["map<string,double>", "select the parts"]),
        (frame(a=DoubleType()), ["struct<a:double>", "select the parts"]),
        (OldVectorUDT(), ["old mllib vector", "convertVectorColumnsToML"]),
        (MatrixUDT(), ["'c'", "convert it to an array"]),
    ],
)
def test_what_cannot_go_in_is_named_with_its_remedy(kind: DataType, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        schema_of(frame(c=kind), inputs=[("x", ("c",))], labels=[], weight=None)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("kind", [VectorUDT(), ArrayType(DoubleType()), StringType(), BinaryType()])
def test_only_numbers_are_stacked_or_weights(kind: DataType) -> None:
    with pytest.raises(DataError, match="'c' is .* cannot be one of the 2 columns that are stacked"):
        schema_of(frame(c=kind, d=DoubleType()), inputs=[("x", ("d", "c"))], labels=[], weight=None)
    with pytest.raises(DataError, match="'c' is .* cannot be a weight"):
        schema_of(frame(c=kind), inputs=[], labels=[], weight="c")


def test_a_missing_column_is_named_with_the_closest_there_is() -> None:
    with pytest.raises(DataError, match=r"'featurs' is not in the DataFrame, did you mean 'features'\? .*'label'"):
        schema_of(frame(features=VectorUDT(), label=DoubleType()), inputs=[("x", ("featurs",))], labels=[], weight=None)


def test_names_are_found_as_spark_finds_them() -> None:
    columns = frame(Label=DoubleType())
    assert schema_of(columns, inputs=[], labels=["label"], weight=None).fields[0].columns == ("label",)
    with pytest.raises(DataError, match="did you mean 'Label'"):
        schema_of(columns, inputs=[], labels=["label"], weight=None, case_sensitive=True)
    twice = StructType([StructField("a", DoubleType()), StructField("A", DoubleType())])
    with pytest.raises(DataError, match="'a' stands 2 times"):
        schema_of(twice, inputs=[], labels=["a"], weight=None)


def test_the_validation_column_is_boolean() -> None:
    check_validation_column(frame(v=BooleanType()), "v")
    with pytest.raises(DataError, match="column 'v' is int, not boolean"):
        check_validation_column(frame(v=IntegerType()), "v")


def test_image_bytes_without_pillow_are_refused_with_the_command(monkeypatch):
    def schema(data_type: DataType):
        return schema_of(frame(image=data_type), inputs=[("image", ("image",))], labels=(), weight=None)

    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match="column 'image' holds images as bytes, and Pillow.* run pip install pillow$"):
        schema(BinaryType())
    assert schema(IMAGE_STRUCT).fields[0].kind == IMAGE
