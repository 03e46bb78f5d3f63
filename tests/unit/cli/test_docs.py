"""docs/cli.md says what the commands say of themselves."""

import pytest

from service.cli import main
from tools import cli


def test_the_page_is_the_commands_own_help() -> None:
    assert cli.PAGE.read_text() == cli.render(), "run `make readme`"


@pytest.mark.parametrize("command", main.commands)
def test_every_command_has_its_section(command: str) -> None:
    assert f"\n## onnicorn {command}\n\n```text\nUsage: onnicorn {command} " in cli.render()
