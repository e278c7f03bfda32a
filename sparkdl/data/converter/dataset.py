"""Rows that every rank can read, and loaders for them: what a converter hands to the loops. No Spark."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping
from typing import Any

from sparkdl.data.converter.torch_loader import TorchLoader, plan_for, shard_of
from sparkdl.data.converter.transform_spec import transform_of
from sparkdl.data.format.manifest import Manifest
from sparkdl.data.types import type_of
from sparkdl.errors import DataError, SettingError, invalid, without_credentials
from sparkdl.storage import urls

WINDOW = 200_000


class SparkDatasetConverter:
    """Rows on storage, and loaders for them; picklable, so that it can be handed to `HorovodRunner.run`.

    Made by `make_spark_converter` and `open_parquet`. ``len(converter)`` is the number of rows.

    Attributes
    ----------
    dtype : str or None
        "float32", "float64", or None: of each column as it was.

    Parameters
    ----------
    manifest : Manifest
        The files; every field an input.
    dtype : str or None
    storage_options : mapping, optional
        For fsspec; pickled with the converter, never shown.
    remove : callable, optional
        Deletes the rows; called once, by `delete` or when Python ends.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        dtype: str | None,
        storage_options: Mapping[str, Any] | None = None,
        remove: Callable[[], object] | None = None,
    ) -> None:
        self._manifest = manifest
        self.dtype = dtype
        self._options = dict(storage_options or {})
        self._deleted = False
        self._copied = False
        self._remove = remove
        if remove is not None:
            atexit.register(remove)

    def __len__(self) -> int:
        return self._manifest.rows

    @property
    def manifest(self) -> Manifest:
        """The files and their row groups, for a `Loader` of one's own."""
        return self._manifest

    @property
    def dataset_size(self) -> int:
        """Number of rows."""
        return self._manifest.rows

    @property
    def cache_dir_url(self) -> str:
        """Folder of the files."""
        return self._manifest.url

    @property
    def file_urls(self) -> list[str]:
        """The files, in the order of the rows."""
        return [urls.join(self._manifest.url, file.path) for file in self._manifest.files]

    @property
    def columns(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of each column; () is a scalar."""
        return {f.name: () if type_of(f).stackable else f.shape for f in self._manifest.schema.fields}

    def make_torch_dataloader(
        self,
        batch_size: int = 32,
        num_epochs: int | None = None,
        workers_count: int | None = None,
        shuffling_queue_capacity: int | None = None,
        *,
        cur_shard: int | None = None,
        shard_count: int | None = None,
        shuffle: bool = True,
        seed: int = 42,
        drop_last: bool = False,
        transform_spec: object = None,
    ) -> TorchLoader:
        """Return a context manager that gives an iterable of {column: tensor}.

        Every row is in exactly one batch of an epoch over all ranks, and all ranks get the same number of batches; in
        the last one a rank may have fewer rows, or none.

        Parameters
        ----------
        batch_size : int
            Rows of a batch of this rank.
        num_epochs : int, optional
            Epochs of one pass over the loader; None: without end.
        workers_count : int, optional
            Threads that read and decode; half of torch's threads by default.
        shuffling_queue_capacity : int, optional
            Rows of this rank that are shuffled together; 200,000 by default, 0 is ``shuffle=False``.
        cur_shard, shard_count : int, optional
            This rank and the number of ranks. By default what the environment says (RANK and WORLD_SIZE inside
            HorovodRunner, HOROVOD_RANK and HOROVOD_SIZE elsewhere), outside of ranks all rows.
        shuffle : bool
            Another order in each epoch, the same again for the same seed.
        seed : int
            The same number on every rank.
        drop_last : bool
            Leave out a last batch that is not full on every rank.
        transform_spec : callable or petastorm.transform.TransformSpec, optional
            Applied to each batch in a thread of its own: a function from {column: tensor} to {column: tensor}, or
            Petastorm's specification for pandas.

        Returns
        -------
        TorchLoader
            Scalars are (n,), arrays and vectors (n, k), nested arrays (n, ...), images (n, 3, H, W) in [0, 1].

        Raises
        ------
        SettingError
            An argument that cannot be.
        DataError
            The rows are deleted, or this host does not see them.
        """
        if self._deleted:
            raise DataError(f"the rows of this converter, in {self._manifest.url}, are deleted: make a new one")
        capacity = WINDOW if shuffling_queue_capacity is None else shuffling_queue_capacity
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("num_epochs", 1 if num_epochs is None else num_epochs, 1),
            ("workers_count", 1 if workers_count is None else workers_count, 1),
            ("shuffling_queue_capacity", capacity, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SettingError(invalid(name, value, f"an integer >= {least}"))
        rank, size = shard_of(cur_shard, shard_count)
        plan = plan_for(
            self._manifest,
            batch_size=batch_size,
            size=size,
            shuffle=shuffle and capacity > 0,
            window=max(1, capacity),
            seed=seed,
            drop_last=drop_last,
        )
        return TorchLoader(
            self._manifest,
            plan,
            rank,
            size,
            num_epochs=num_epochs,
            threads=workers_count,
            storage_options=self._options,
            transform=transform_of(transform_spec),
            keep=self,
        )

    def delete(self) -> None:
        """Remove the rows that were written for this converter; Parquet that it has only opened stays. Twice is fine.

        Raises
        ------
        SettingError
            On a rank: the driver has made the rows and removes them.
        """
        if self._copied:
            raise SettingError("this is a copy of a converter: call delete() where it was made, on the driver")
        self._deleted = True
        if self._remove is not None:
            remove, self._remove = self._remove, None
            atexit.unregister(remove)
            remove()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_remove": None, "_copied": True}

    def __repr__(self) -> str:
        columns = ", ".join(f"{name} {shape}" for name, shape in list(self.columns.items())[:8])
        return f"SparkDatasetConverter({len(self)} rows in {without_credentials(self._manifest.url)}: {columns})"
