"""An image-sized tensor from JSON and back, without HTTP: the service's codec, and orjson with numpy.

The answer is what the image model gives, 1,000 floats; and, to show the encoder, one that is as large as the input.
"""

from collections.abc import Callable
from functools import partial
from time import process_time
from typing import Any, Final

import numpy as np
import orjson

from benchmarks import inputs, models
from benchmarks.session import Array
from service.bench import request
from service.knobs import Limits
from service.protocol import v2
from service.tensors import FREE, Datatype, Signature, TensorSpec

Times = dict[str, float]
_REPEATS: Final = 10
_LIMITS: Final = Limits()
_SIGNATURE: Final = Signature((TensorSpec("x", Datatype.FP32, (FREE, FREE)),), ())


def onnicorn() -> Times:
    def encode(tensor: Array) -> None:
        v2.encode("image", 1, "id", [v2.OutputTensor("y", Datatype.FP32, tensor, binary=False)], _LIMITS)

    return _times(lambda body: v2.decode(body, None, _SIGNATURE, _LIMITS).inputs["x"], encode)


def orjson_and_numpy() -> Times:
    def decode(body: bytes) -> Array:
        tensor = orjson.loads(body)["inputs"][0]
        return np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"])

    def encode(tensor: Array) -> None:
        output = {"name": "y", "datatype": "FP32", "shape": tensor.shape, "data": tensor.reshape(-1)}
        document = {"model_name": "image", "model_version": "1", "id": "id", "outputs": [output]}
        orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)

    return _times(decode, encode)


CONTENDERS: Final = {"onnicorn": onnicorn, "orjson + numpy": orjson_and_numpy}


def _times(decode: Callable[[bytes], Array], encode: Callable[[Array], Any]) -> Times:
    """CPU seconds of each step."""
    picture = inputs.picture()
    body = request.infer_body({"x": picture})
    if not np.array_equal(decode(body), picture):
        raise RuntimeError("the decoder does not give back what was sent")
    answer = picture.reshape(1, -1)[:, : models.CLASSES]
    steps = {
        "decode": partial(decode, body),
        "encode": partial(encode, answer),
        "encode_large": partial(encode, picture),
    }
    return {name: _time(step) for name, step in steps.items()}


def _time(step: Callable[[], Any]) -> float:
    started = process_time()
    for _ in range(_REPEATS):
        step()
    return (process_time() - started) / _REPEATS
