"""Whose metric files are whose, and the values in them.

prometheus_client names a process's files by its pid, so files would pile up as workers come and go. Ours are named by
what the process is: `master`, `ops`, or a worker's slot, which its successor takes over together with the counts.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Labels = Mapping[str, str]
# The numbers of a file.
Cells: TypeAlias = "memoryview[float]"

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

        self.prefix = f"{typ}_{multiprocess_mode}" if typ == "gauge" else typ
        self.key = mmap_key(metric_name, name, labelnames, labelvalues, help_text)
        self.open()
        _values.append(self)

    def open(self) -> None:
        """Find the number's place in this process's file; a predecessor's count is taken over."""
        file = _file(self.prefix)
        cell = _cell(file, self.key)
        self.move(_cells(file), cell)
        self._value = self._cells[cell]

    def move(self, cells: Cells, cell: int) -> None:
        """Count there from now on."""
        self._cells, self._cell = cells, cell

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


def bury(process: str) -> None:
    """It is gone: what it was about to do, which live gauges say, nobody will do. What it has counted stays."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(process, _directory)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Draft:
    """What shall take the place of a file, which itself can only grow: its numbers, but those with the keys in `gone`.

    Of the values that were `known` when it was made it has `places`.
    """

    prefix: str
    file: Any
    gone: Set[str]
    known: int
    places: Sequence[tuple[FileValue, int]]


def draft(is_gone: Callable[[Labels], bool]) -> list[Draft]:
    """Of each file with such labels, a predecessor's among them. In any thread: it takes long, and changes nothing."""
    return [made for prefix in list(_files) if (made := _draft(prefix, is_gone))]


def adopt(drafts: Sequence[Draft]) -> None:
    """In the thread that counts. Who reads meanwhile finds the old file or the new one, whole."""
    for draft in drafts:
        _adopt(draft)
    gone = {key for draft in drafts for key in draft.gone}
    _values[:] = [value for value in _values if value.key not in gone]


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


def _draft(prefix: str, is_gone: Callable[[Labels], bool]) -> Draft | None:
    """None where nothing is gone."""
    from prometheus_client.mmap_dict import MmapedDict

    known = list(_values)
    stored = MmapedDict.read_all_values_from_file(str(_path(prefix)))  # type: ignore[no-untyped-call]
    numbers = {key: number for key, number, _, _ in stored}
    gone = {key for key in numbers if is_gone(_labels(key))}
    if not gone:
        return None
    path = _draft_path(prefix)
    path.unlink(missing_ok=True)
    file = _opened(path)
    for key in numbers.keys() - gone:
        file.write_value(key, numbers[key], 0.0)
    kept = [value for value in known if value.prefix == prefix and value.key not in gone]
    return Draft(prefix, file, gone, len(known), _places(file, kept))


def _adopt(draft: Draft) -> None:
    """First it gets what was counted since it was made, then its name; then nobody counts in the old one any more."""
    late = [value for value in _values[draft.known :] if value.prefix == draft.prefix and value.key not in draft.gone]
    places = [*draft.places, *_places(draft.file, late)]
    cells = _cells(draft.file)
    for value, cell in places:
        cells[cell] = value.get()
    _draft_path(draft.prefix).rename(_path(draft.prefix))
    _files[draft.prefix] = draft.file
    for value, cell in places:
        value.move(cells, cell)


def _places(file: Any, values: Iterable[FileValue]) -> list[tuple[FileValue, int]]:
    """Those that it has not yet get one."""
    return [(value, _cell(file, value.key)) for value in values]


def _draft_path(prefix: str) -> Path:
    return _path(prefix).with_suffix(".draft")


def _path(prefix: str) -> Path:
    assert _directory
    return _directory / f"{prefix}_{_process}.db"


def _cell(file: Any, key: str) -> int:
    """Where the number is, which begins at 0 if it is not there."""
    file.read_value(key)
    place: int = file._positions[key]
    return place // 8


def _cells(file: Any) -> Cells:
    """A file that grows is mapped anew; the old map goes on showing the same bytes."""
    return memoryview(file._m).cast("d")


def _opened(path: Path) -> Any:
    from prometheus_client.mmap_dict import MmapedDict

    return MmapedDict(str(path))  # type: ignore[no-untyped-call]


def _labels(key: str) -> Labels:
    """The inverse of `mmap_key`, as far as it is of interest."""
    labels: Labels = json.loads(key)[2]
    return labels
