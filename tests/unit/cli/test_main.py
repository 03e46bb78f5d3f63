"""The command line as a whole: an operator's mistake is one line and exit code 1."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from service.cli import main
from tests.unit.cli.conftest import Onnicorn


@pytest.mark.parametrize("command", ["plan", "prepare"])
@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"RUNTIME__WORKER": "2"},
            "ONNICORN_RUNTIME__WORKER is not a setting; the nearest is ONNICORN_RUNTIME__WORKERS",
        ),
        (
            {"RUNTIME__WORKERS": "many"},
            "ONNICORN_RUNTIME__WORKERS=many: input should be a valid integer, unable to parse string as an integer",
        ),
        (
            {"REPOSITORY__PATH": "/nowhere"},
            "the model repository /nowhere does not exist: set ONNICORN_REPOSITORY__PATH to a directory of models, "
            "a directory with a model.onnx, or one .onnx file",
        ),
    ],
)
def test_a_mistake_is_one_line(onnicorn: Onnicorn, command: str, variables: dict[str, str], sentence: str) -> None:
    result = onnicorn(command, **variables)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"onnicorn: {sentence}\n")


@pytest.mark.parametrize("command", [["plan"], ["describe", "cat"]])
def test_what_the_system_refuses_is_one_line_too(onnicorn: Onnicorn, command: list[str]) -> None:
    path = f"/{'long' * 100}"
    result = onnicorn(*command, "--repository", path)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"onnicorn: {path}: File name too long\n")


def test_several_mistakes_are_one_line_too(onnicorn: Onnicorn) -> None:
    result = onnicorn("plan", RUNTIME__WORKER="2", LOG__LEVEL="loud")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "ONNICORN_RUNTIME__WORKER is not a setting" in result.stderr
    assert "ONNICORN_LOG__LEVEL=loud" in result.stderr


@pytest.mark.parametrize(("arguments", "word"), [(["deploy"], "deploy"), (["plan", "--yaml"], "--yaml")])
def test_what_is_no_command_is_said_with_exit_code_2(onnicorn: Onnicorn, arguments: list[str], word: str) -> None:
    result = onnicorn(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert word in result.stderr


def test_the_commands_are_listed(onnicorn: Onnicorn) -> None:
    result = onnicorn("--help")
    assert (result.exit_code, result.stderr) == (0, "")
    listed = result.stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == list(main.commands)
    assert "..." not in listed  # each says it in a line


def test_help_is_complete(onnicorn: Onnicorn) -> None:
    """Every option says what it is, every command how it is used and what its exit codes mean."""
    for name, command in main.commands.items():
        assert "Example" in (command.epilog or ""), name
        assert "Exit code" in (command.epilog or ""), name
        assert [option.name for option in command.params if not getattr(option, "help", "argument")] == [], name


@pytest.mark.parametrize("command", main.commands)
def test_help_is_had_with_wrong_settings_too(onnicorn: Onnicorn, command: str) -> None:
    result = onnicorn(command, "--help", RUNTIME__WORKERS="many")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: main {command} ")


def test_help_waits_for_no_model_and_no_server() -> None:
    """What takes seconds to import is imported by the commands that need it."""
    code = "import sys, service.cli; print(*{'onnxruntime', 'fastapi', 'numpy', 'gunicorn'} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "\n"


def test_the_repository_of_the_command_line_goes_before_the_environments(onnicorn: Onnicorn, root: Path) -> None:
    assert onnicorn("prepare", "--repository", str(root), REPOSITORY__PATH="/nowhere").exit_code == 0
    assert "/nowhere does not exist" in onnicorn("prepare", "--repository", "/nowhere").stderr


def test_the_command_can_be_run_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["onnicorn", "--help"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("service.cli", run_name="__main__")
    assert caught.value.code == 0
    assert "Serve ONNX models over HTTP." in capsys.readouterr().out
