"""Saving and loading a stage by Spark ML's own API, in Spark ML's own layout.

A directory holds ``metadata/part-00000`` (one line of JSON, as Spark writes it) and what the stage adds to it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pyspark import __version__ as spark_version
from pyspark.ml.param import Params
from pyspark.ml.util import MLReadable, MLReader, MLWritable, MLWriter

from sparkdl.errors import PersistenceError, path_text
from sparkdl.persistence import places
from sparkdl.persistence.params import params_to_json, set_params
from sparkdl.persistence.reading import checked_uid, read_object, reading
from sparkdl.persistence.trusted import trusted as trust
from sparkdl.version import __version__

if TYPE_CHECKING:
    from typing import Self

FORMAT_VERSION = 2
"""2: weights are in a file of the safetensors format. Version 1 is read as well."""

S = TypeVar("S", bound="Savable")


class Savable(MLWritable, MLReadable[Any]):
    """Mixin of a stage that can be saved; its constructor takes no argument that it must have.

    A stage that holds more than Params overrides `_write_parts` and `_read_parts`.
    """

    uid: str

    def write(self) -> StageWriter:
        """Return a writer: ``write().overwrite().save(path)``."""
        return StageWriter(self)

    @classmethod
    def read(cls: type[S]) -> StageReader[S]:
        """Return a reader: ``read().load(path)``."""
        return StageReader(cls)

    @classmethod
    def load(cls, path: str | os.PathLike[str], trusted: bool = False) -> Self:
        """Load a saved stage.

        Parameters
        ----------
        path : str or PathLike
            As any path of Spark's: a folder of ``fs.defaultFS`` unless it names its file system.
        trusted : bool
            Whether pickled code in the directory may run, and modules that it names may be imported.

        Raises
        ------
        PersistenceError
            If there is nothing, something else, or a class that this process does not know.
        """
        with trust() if trusted else nullcontext():
            return cls.read().load(path)

    @classmethod
    def _from_java(cls, java_stage: Any) -> Self:
        """Return the stage that a JVM holds: pyspark asks for it where Spark's own reader has read a pipeline."""
        with tempfile.TemporaryDirectory(prefix="sparkdl-java-") as folder:
            path = Path(folder, "stage")
            java_stage.write().save(path.as_uri())
            return read_stage(cls, path, str(path))

    def _write_parts(self, folder: Path) -> dict[str, Any]:
        """Write more files into the folder, and return what to add to the metadata."""
        return {}

    def _read_parts(self, folder: Path, metadata: dict[str, Any]) -> None:
        """Take from the folder what `_write_parts` has written."""


class StageWriter(MLWriter):
    """Writes a stage to Spark's file systems."""

    def __init__(self, instance: Savable) -> None:
        super().__init__()
        self.instance = instance

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the stage; an existing path is refused unless `overwrite` was called.

        Raises
        ------
        PersistenceError
            If the path exists, cannot be written, or something of the stage has no saved form. Nothing is
            written or removed before all of the stage is ready.
        """
        path = path_text("path", path)
        spark = self.sparkSession
        if not self.shouldOverwrite and places.exists(spark, path):
            raise PersistenceError(f"{path} exists already: use write().overwrite().save(path), or another path")
        with tempfile.TemporaryDirectory(prefix="sparkdl-save-") as folder:
            write_stage(self.instance, Path(folder))
            places.upload(spark, Path(folder), path, last="metadata")

    def saveImpl(self, path: str) -> None:
        """Save without looking whether the path exists."""
        self.shouldOverwrite = True
        self.save(path)


class StageReader(MLReader[S]):
    """Reads a stage from Spark's file systems."""

    def __init__(self, cls: type[S]) -> None:
        super().__init__()
        self.cls = cls

    def load(self, path: str | os.PathLike[str]) -> S:
        """Load the stage; `Savable.load` says what is raised."""
        path = path_text("path", path)
        with places.downloaded(self.sparkSession, path) as folder:
            return read_stage(self.cls, folder, path)


def write_stage(stage: Savable, folder: Path) -> None:
    """Write a stage into a local folder that exists."""
    checked_uid(stage.uid)
    # Metadata come last, so that a directory which has them is whole.
    extra = stage._write_parts(folder)
    write_metadata(metadata_of(stage, folder, extra), folder)


def metadata_of(stage: Savable, folder: Path, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a stage; values of Params that are no JSON are written into the folder.

    Parameters
    ----------
    stage : Savable
    folder : Path
    extra : mapping
        What the stage adds.
    """
    cls = type(stage)
    return {
        "class": f"{cls.__module__}.{cls.__name__}",
        "timestamp": round(time.time() * 1000),
        "sparkVersion": spark_version,
        "uid": stage.uid,
        **params_to_json(cast(Params, stage), folder),
        "formatVersion": FORMAT_VERSION,
        "sparkdlVersion": __version__,
        "language": "Python",
        **extra,
    }


def write_metadata(metadata: Mapping[str, Any], folder: Path) -> None:
    """Write the metadata of a stage into its folder, in Spark ML's layout."""
    (folder / "metadata").mkdir()
    (folder / "metadata" / "part-00000").write_text(json.dumps(metadata, allow_nan=False) + "\n")
    (folder / "metadata" / "_SUCCESS").touch()


def read_stage(cls: type[S], folder: Path, path: str) -> S:
    """Return the stage of a local folder.

    Parameters
    ----------
    cls : type
        Its class, or a base of it that is asked for the right name.
    folder : Path
        Where it lies here.
    path : str
        How the user named it, for errors.
    """
    with reading(path):
        metadata = _metadata(folder)
        _check_class(cls, str(metadata.get("class")))
        version = metadata.get("formatVersion")
        if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
            raise PersistenceError(
                f"it has format version {version!r}, this sparkdl {__version__} reads 1 to {FORMAT_VERSION}: "
                f"load it with sparkdl {metadata.get('sparkdlVersion', 'of another version')}"
            )
        stage = cls()
        cast(Any, stage)._resetUid(checked_uid(metadata["uid"]))
        set_params(cast(Params, stage), metadata, folder)
        stage._read_parts(folder, metadata)
        return stage


def _metadata(folder: Path) -> dict[str, Any]:
    parts = sorted(p for p in (folder / "metadata").glob("part-*") if p.is_file() and p.stat().st_size)
    if not parts:
        raise PersistenceError("there is no saved stage (no metadata/part-00000 in it)")
    return read_object(parts[0])


def _check_class(cls: type, saved: str) -> None:
    expected = f"{cls.__module__}.{cls.__name__}"
    if saved != expected:
        saved = saved if len(saved) <= 100 else f"{saved[:100]}..."
        name = saved.rpartition(".")[2]
        raise PersistenceError(f"it holds a {saved}, not a {expected}: load it with {name}.load")
