"""ONNX Runtime as everybody uses it: the session that all comparisons run, on one thread."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

Array = npt.NDArray[Any]
Inputs = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Run:
    """What `session.run` alone achieves. Times are seconds."""

    rows: int
    wall: float
    cpu: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.wall

    @property
    def cpu_per_row(self) -> float:
        return self.cpu / self.rows


def load(path: str | os.PathLike[str]) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(os.fspath(path), options, ["CPUExecutionProvider"])


@cache
def loaded(path: Path) -> Any:
    """The same, once per process: rounds follow one another, and loading is not what they measure."""
    return load(path)


def run(path: Path, batches: Sequence[Inputs], seconds: float) -> Run:
    """Run all batches one after the other, again and again, until the time is up at the end of a pass."""
    session = loaded(path)
    session.run(None, batches[0])
    passes = 0
    wall, cpu = perf_counter(), process_time()
    while perf_counter() - wall < seconds:
        for batch in batches:
            session.run(None, batch)
        passes += 1
    rows = sum(len(next(iter(batch.values()))) for batch in batches)
    return Run(rows * passes, perf_counter() - wall, process_time() - cpu)


def pad(sequences: Sequence[Inputs]) -> Inputs:
    """One batch of all, each filled up with zeros to the longest."""
    longest = max(next(iter(sequence.values())).shape[1] for sequence in sequences)
    return {
        name: np.concatenate([np.pad(s[name], ((0, 0), (0, longest - s[name].shape[1]))) for s in sequences])
        for name in sequences[0]
    }
