"""What the rehearsal says before it begins."""

import shutil
import sys

import pytest

from rehearsal.__main__ import main


@pytest.mark.parametrize(
    ("there", "sentence"),
    [
        ((), "the rehearsal needs haproxy and prometheus; on Debian: apt install haproxy prometheus\n"),
        (("haproxy",), "the rehearsal needs prometheus; on Debian: apt install prometheus\n"),
    ],
)
def test_a_program_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["rehearsal"])
    monkeypatch.setattr(shutil, "which", lambda name, path=None: name if name in there else None)
    assert main() == 2
    assert capsys.readouterr().out == sentence
