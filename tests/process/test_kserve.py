"""KServe's client, unchanged against the real service. It lives in an environment of its own: see `.ci/clients`."""

import ast
import json
from typing import Any

from tests.deploy.programs import output, program
from tests.process.conftest import ROOT, Service, StartService
from tests.process.snippets import snippet

# What the client is called with, and what shall be printed as JSON.
PREAMBLE = """
import asyncio, json, sys
import numpy as np
from httpx import HTTPStatusError
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

url = "http://" + sys.argv[1]

def request(binary):
    x = InferInput("x", [2, 4], "FP32")
    x.set_data_from_numpy(np.arange(8, dtype=np.float32).reshape(2, 4), binary_data=binary)
    return InferRequest("double", [x], request_outputs=[RequestedOutput("y", {"binary_data": binary})])

async def refusal(call):
    try:
        return await call
    except HTTPStatusError as error:
        return [error.response.status_code, str(error)]

async def scenario(client):
    return {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "models": [await client.is_model_ready(url, name) for name in ("double", "unheard")],
        "answers": [
            (await client.infer(url, request(binary), model_name="double")).outputs[0].as_numpy().tolist()
            for binary in (False, True)
        ],
        "refusal": await refusal(client.infer(url, request(True), model_name="unheard")),
    }

async def main():
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        print(json.dumps(await scenario(client)))

asyncio.run(main())
"""


def run(code: str, *arguments: str) -> str:
    """The last line that KServe's Python prints; its libraries print warnings before."""
    return output(program("kserve-python"), "-W", "ignore", "-c", code, *arguments).splitlines()[-1]


def test_each_call_of_version_2_works(service: Service) -> None:
    doubled = [[0, 2, 4, 6], [8, 10, 12, 14]]
    answered: dict[str, Any] = json.loads(run(PREAMBLE, service.api))
    status, sentence = answered.pop("refusal")
    assert answered == {"live": True, "ready": True, "models": [True, False], "answers": [doubled, doubled]}
    assert status == 404
    assert sentence.startswith("model 'unheard' is not served here; GET /v2/models lists the models that are")


VERSION_1 = """
async def scenario(client):
    return {
        "live": await client.is_server_live(url),
        "ready": await client.is_model_ready(url, "double"),
        "answer": await client.infer(url, {"instances": [[0, 1, 2, 3], [4, 5, 6, 7]]}, model_name="double"),
        "refusals": [
            await refusal(client.is_model_ready(url, "unheard")),
            await refusal(client.infer(url, {"instances": [[0, 1, 2, "x"]]}, model_name="double")),
        ],
    }

async def main():
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        print(json.dumps(await scenario(client)))

asyncio.run(main())
"""


def test_each_call_of_version_1_works(service: Service) -> None:
    beginning = PREAMBLE[: PREAMBLE.index("async def scenario")]
    answered: dict[str, Any] = json.loads(run(beginning + VERSION_1, service.api))
    refusals = answered.pop("refusals")
    assert answered == {"live": True, "ready": True, "answer": {"predictions": [[0, 2, 4, 6], [8, 10, 12, 14]]}}
    assert [status for status, _ in refusals] == [404, 400]
    assert refusals[1][1].startswith('instances[0][3]: expected a number, got "x"')


def test_the_guide_is_true(start_service: StartService) -> None:
    service = start_service(ROOT / "models")
    assert ast.literal_eval(run(snippet("kserve v2", service.api))) == [7]
    assert ast.literal_eval(run(snippet("kserve v1", service.api)))["predictions"][0]["label"] == 7
