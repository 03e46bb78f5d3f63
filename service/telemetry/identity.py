"""Whose metric files are whose, and the values in them.

prometheus_client names a process's files by its pid, so files would pile up as workers come and go. Ours are named by
what the process is: `master`, `ops`, or a worker's slot, which its successor takes over together with the counts.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Labels = Mapping[str, str]

_process = "master"
_directory: Path | None = None
_values: list["FileValue"] = []
_files: dict[str, Any] = {}


class FileValue:
    """A number in a file of this process, in place of prometheus_client's own class for that.

    A tenth of its cost: no lock, since only one thread counts (a worker's event loop, the master), and no look at each
    count whether the process has forked, since `become` says so.
    """

    _multiprocess = True

    def __init__(
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Any,
        labelvalues: Any,
        help_text: str,
        multiprocess_mode: str = "",
        **_: Any,
    ) -> None:
        from prometheus_client.mmap_dict import mmap_key

        self._file = f"{typ}_{multiprocess_mode}" if typ == "gauge" else typ
        self._key = mmap_key(metric_name, name, labelnames, labelvalues, help_text)
        self.open()
        _values.append(self)

    @property
    def labels(self) -> Labels:
        return _labels(self._key)

    def open(self) -> None:
        """Find the number's place in this process's file; a predecessor's count is taken over."""
        file = _file(self._file)
        self._value: float = file.read_value(self._key)[0]
        # A file that grows is mapped anew; the old map goes on showing the same bytes.
        self._cells = memoryview(file._m).cast("d")
        self._cell = file._positions[self._key] // self._cells.itemsize

    def inc(self, amount: float) -> None:
        self._value += amount
        self._cells[self._cell] = self._value

    def set(self, value: float, timestamp: float | None = None) -> None:
        self._value = value
        self._cells[self._cell] = value
        self._cells[self._cell + 1] = timestamp or 0.0

    def get(self) -> float:
        return self._value

    def set_exemplar(self, exemplar: Any) -> None:
        """There are none in files."""

    def get_exemplar(self) -> None:
        """There are none in files."""


def become(process: str) -> None:
    """After a fork: what this process is from now on."""
    global _process
    _process = process
    _files.clear()
    for value in _values:
        value.open()


def forget(is_gone: Callable[[Labels], bool]) -> None:
    """Have the numbers with these labels no more, a predecessor's among them.

    A file only grows, so another one takes its place: who reads meanwhile finds the one or the other, whole.
    """
    for prefix, file in _files.items():
        numbers = {key: number for key, number, _ in file.read_all_values()}
        kept = {key: number for key, number in numbers.items() if not is_gone(_labels(key))}
        if len(kept) < len(numbers):
            _replace(prefix, kept)
    _values[:] = [value for value in _values if not is_gone(value.labels)]
    for value in _values:
        value.open()


def keep_metrics_in(directory: Path) -> None:
    """Before any metric exists: each makes its values as it is made."""
    global _directory
    _directory = directory
    from prometheus_client import values

    values.ValueClass = FileValue


def _file(prefix: str) -> Any:
    """This process's file for one kind of metric."""
    if prefix not in _files:
        _files[prefix] = _opened(_path(prefix))
    return _files[prefix]


def _replace(prefix: str, numbers: Mapping[str, float]) -> None:
    """The file, whole, by one that has only these."""
    draft = _path(prefix).with_suffix(".draft")
    draft.unlink(missing_ok=True)
    file = _opened(draft)
    for key, number in numbers.items():
        file.write_value(key, number, 0.0)
    draft.rename(_path(prefix))
    _files[prefix] = file


def _path(prefix: str) -> Path:
    assert _directory
    return _directory / f"{prefix}_{_process}.db"


def _opened(path: Path) -> Any:
    from prometheus_client.mmap_dict import MmapedDict

    return MmapedDict(str(path))  # type: ignore[no-untyped-call]


def _labels(key: str) -> Labels:
    """The inverse of `mmap_key`, as far as it is of interest."""
    labels: Labels = json.loads(key)[2]
    return labels
