"""Which series are shown: those of what is served, of what was before, and of no model at all."""

import pytest

from service.telemetry.versions import Versions

VERSIONS = Versions(
    served=(("cat", 3, "c3"), ("dog", 1, "d1")), before=(("cat", 2, "c2"), ("owl", 1, "o1")), refused=frozenset()
)


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ({"model": "cat", "version": "3", "outcome": "ok"}, True),
        ({"model": "cat", "version": "2", "le": "1.0"}, True),
        ({"model": "cat", "version": "1"}, False),
        ({"model": "owl", "version": "1"}, True),
        ({"model": "dog", "version": "2"}, False),
        ({"model": "dog"}, True),
        ({"model": "owl"}, True),
        ({"model": "cow"}, False),
        ({"version": "1.2.3", "onnxruntime": "1"}, True),
        ({}, True),
    ],
)
def test_what_is_served_and_what_was_before_is_shown(labels: dict[str, str], shown: bool) -> None:
    assert VERSIONS.show(labels) is shown


def test_before_the_first_generation_nothing_of_a_model_is() -> None:
    assert [Versions().show(labels) for labels in ({"model": "cat"}, {"route": "/"})] == [False, True]
