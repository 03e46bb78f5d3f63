"""The environment of every test, set before anything imports numpy, ONNX Runtime or the service."""

import os

# Their threads would not survive a fork.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

# A developer's own settings are not the ones under test; where the large models lie is no setting.
for _name in [name for name in os.environ if name.startswith("ONNICORN_") and name != "ONNICORN_TEST_MODELS"]:
    del os.environ[_name]
os.environ.pop("WEB_CONCURRENCY", None)
