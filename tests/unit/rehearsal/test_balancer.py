"""The project's HAProxy configuration with other addresses, and nothing else changed."""

import pytest

from rehearsal.balancer import configuration
from rehearsal.copies import Slot
from rehearsal.process import Failed

SLOTS = [Slot("a", 1, 2), Slot("b", 3, 4)]
SHIPPED = """\
frontend api
    bind 127.0.0.1:8080
backend onnicorn
    default-server port 8002 check inter 1s
    server one 127.0.0.1:8000
    server two 127.0.0.2:8000
"""


def test_only_the_addresses_are_others() -> None:
    assert (
        configuration(SHIPPED, 9, SLOTS)
        == """\
frontend api
    bind 127.0.0.1:9
backend onnicorn
    default-server port 8002 check inter 1s
    server a 127.0.0.1:1 port 2
    server b 127.0.0.1:3 port 4
"""
    )


@pytest.mark.parametrize("line", ["    bind 127.0.0.1:8080\n", "    server "])
def test_a_configuration_of_another_make_is_an_error(line: str) -> None:
    with pytest.raises(Failed, match="the HAProxy configuration has changed"):
        configuration(SHIPPED.replace(line, "    # "), 9, SLOTS)
