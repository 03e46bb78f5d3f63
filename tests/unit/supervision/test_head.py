"""What a head must be so that everybody on the way understands it alike."""

import pytest

from service.errors import MalformedRequest
from service.supervision.head import Headers, check_form

HOST = (b"host", b"here")


@pytest.mark.parametrize(
    ("version", "target", "headers"),
    [
        ("1.1", b"/", [HOST]),
        ("1.1", b"http://there/x?y", [HOST]),
        ("1.1", b"*", [(b"host", b"")]),
        ("1.0", b"/", []),
        ("1.0", b"/", [HOST]),
        ("1.1", b"/", [(b"host", b"a-b.c_d~e:8000")]),
        ("1.1", b"/", [(b"host", b"[::1]:8000")]),
        ("1.1", b"/", [(b"host", b"xn--%C3%BC: ".strip())]),
        ("1.1", b"/", [HOST, (b"transfer-encoding", b"Chunked ")]),
    ],
)
def test_a_head_that_everybody_understands_is_taken(version: str, target: bytes, headers: Headers) -> None:
    check_form(version, target, headers)


ONE_HOST = "expected one"
NO_HOST = "is not a host with or without a port"
CODING = "expected chunked, in HTTP/1.1"


@pytest.mark.parametrize(
    ("version", "target", "headers", "complaint"),
    [
        ("2.0", b"/", [HOST], "the request is in HTTP/2.0; expected HTTP/1.1 or HTTP/1.0"),
        ("0.9", b"/", [HOST], "HTTP/0.9"),
        ("1.1", b"/a#b", [HOST], "fragment"),
        ("1.1", b"/", [], "the request has 0 Host headers; expected one"),
        ("1.1", b"/", [HOST, HOST], ONE_HOST),
        ("1.0", b"/", [HOST, HOST], ONE_HOST),
        ("1.1", b"/", [(b"host", b"a b")], NO_HOST),
        ("1.1", b"/", [(b"host", b"a/b")], NO_HOST),
        ("1.1", b"/", [(b"host", b"me@there")], NO_HOST),
        ("1.1", b"/", [(b"host", b"there:x")], NO_HOST),
        ("1.1", b"/", [(b"host", b"[there]")], NO_HOST),
        ("1.1", b"/", [(b"host", b"\xfc")], NO_HOST),
        ("1.1", b"/", [HOST, (b"transfer-encoding", b"gzip, chunked")], CODING),
        ("1.1", b"/", [HOST, (b"transfer-encoding", b"identity"), (b"transfer-encoding", b"chunked")], CODING),
        ("1.1", b"/", [HOST, (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")], CODING),
        ("1.0", b"/", [HOST, (b"transfer-encoding", b"chunked")], CODING),
    ],
)
def test_a_head_that_some_understand_differently_is_refused(
    version: str, target: bytes, headers: Headers, complaint: str
) -> None:
    with pytest.raises(MalformedRequest) as caught:
        check_form(version, target, headers)
    assert complaint in str(caught.value)
