"""Onnicorn: point it at an ONNX model and get a production HTTP service."""

import os

# Importing onnxruntime starts a telemetry thread unless this is set first. A process that holds that thread
# and then forks cannot exit normally any more, and a service that reports home is nobody's wish.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# numpy's OpenBLAS adds threads at import, and so may OpenMP; the models run in ONNX Runtime, in threads that we count.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# numpy asks for huge pages below large arrays. Where one lay in the heap, a few bytes take 2 MiB from then on.
os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")

__version__ = "0.1.0"
