"""What is summed up by an alert is there, at 0, before it happens: of a first number there is no rate."""

from prometheus_client.samples import Sample

from service.telemetry import zeros
from service.telemetry.metrics import REGISTRY


def samples(name: str) -> list[Sample]:
    families = REGISTRY.collect()
    return [sample for family in families for sample in family.samples if sample.name == f"onnicorn_{name}"]


def series(name: str, **labels: str) -> list[dict[str, str]]:
    """The labels of its series with these, all of which are 0."""
    found = [sample for sample in samples(name) if labels.items() <= sample.labels.items()]
    assert {sample.value for sample in found} <= {0}
    return [sample.labels for sample in found]


def test_each_way_in_which_a_request_may_end_has_its_series() -> None:
    zeros.of_requests(["/zero/infer"], ["/zero/stream"], (200, 500, 503))
    for route in ("/zero/infer", "/zero/stream"):
        found = series("http_requests_total", route=route)
        assert found == [{"route": route, "method": "POST", "status": status} for status in ("200", "500", "503")]
    durations = [
        series("http_request_duration_seconds_count", route=route) for route in ("/zero/infer", "/zero/stream")
    ]
    assert durations == [[{"route": "/zero/infer", "outcome": "ok"}], []]


def test_each_reason_to_refuse_and_each_stage_in_which_clients_leave_has_its_series() -> None:
    zeros.of_requests((), (), ())
    refused = [sample.labels["reason"] for sample in samples("refused_total")]
    left = [sample.labels["stage"] for sample in samples("cancelled_total")]
    assert set(refused) >= {"wait", "deadline", "waiting", "rows", "bytes", "connections"}
    assert set(left) >= {"body", "queue", "run"}


def test_a_version_has_a_series_for_each_outcome_that_is_not_its_callers_mistake() -> None:
    zeros.of_model("zero", 4)
    assert series("inference_pending", model="zero") == [{"model": "zero"}]
    assert [labels["outcome"] for labels in series("inference_requests_total", model="zero", version="4")] == [
        "ok",
        "inference_failed",
        "transform_failed",
        "internal_error",
        "interrupted",
        "deadline_exceeded",
        "overloaded",
    ]
