"""`onnicorn key`: a key that is said once, and the lines that make it known."""

import re
from pathlib import Path

import pytest

from service.access import Scope, read_clients
from tests.unit.cli.conftest import Onnicorn


@pytest.mark.parametrize(
    ("arguments", "scopes"),
    [
        ([], {Scope.INFER, Scope.METADATA}),
        (["--scope", "admin"], {Scope.ADMIN}),
        (["--scope", "infer", "--scope", "infer"], {Scope.INFER}),
    ],
)
@pytest.mark.parametrize("client", ["checkout", "check.out-1_b"])
def test_what_is_printed_makes_the_key_known(
    onnicorn: Onnicorn, tmp_path: Path, client: str, arguments: list[str], scopes: set[Scope]
) -> None:
    result = onnicorn("key", client, *arguments)
    assert result.exit_code == 0
    assert re.fullmatch(r"onk_[A-Za-z0-9_-]{43}\n", result.stdout)
    key = result.stdout.strip()
    assert key not in result.stderr
    (tmp_path / "keys.toml").write_text(result.stderr)
    clients = read_clients(tmp_path / "keys.toml")
    assert clients
    assert (clients.of(key.encode()), clients.scopes(client)) == (client, frozenset(scopes))


def test_each_key_is_a_new_one(onnicorn: Onnicorn) -> None:
    assert onnicorn("key", "cat").stdout != onnicorn("key", "cat").stdout


@pytest.mark.parametrize("client", ["", "a b", "-a", "ä", "a" * 129, "a\n"])
def test_a_name_that_cannot_stand_in_a_log_is_refused(onnicorn: Onnicorn, client: str) -> None:
    result = onnicorn("key", "--", client)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "expected letters, digits" in result.stderr
