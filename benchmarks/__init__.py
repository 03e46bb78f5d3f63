"""What Onnicorn costs beside the models it runs, and what overload does to it: `python -m benchmarks`."""

import os

# What is compared with the service must run as the service does: see service/__init__.py for the reasons.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
