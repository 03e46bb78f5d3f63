"""Write docs/cli.md anew from the commands' own help: `python -m tools.cli`."""

from collections.abc import Iterator
from pathlib import Path

import click

from service.cli import main as onnicorn

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
WIDTH = 100

HEAD = """\
# The command line

<!-- Written by `python -m tools.cli` from what the commands say of themselves: change them, not this page. -->

Settings come from the environment (`ONNICORN_*`; `onnicorn settings` lists them); a command's options are for what
differs from one call to the next. What is asked for goes to standard output, everything else to standard error. Colours
appear on a terminal only, and not there either when `NO_COLOR` is set. From a checkout, `.venv/bin/onnicorn` is the
command.
"""


def main() -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render())


def render() -> str:
    return "\n".join([HEAD, *_sections()])


def _sections() -> Iterator[str]:
    yield _section(onnicorn, None, "onnicorn")
    context = click.Context(onnicorn, info_name="onnicorn")
    for name, command in sorted(onnicorn.commands.items()):
        yield _section(command, context, name)


def _section(command: click.Command, parent: click.Context | None, name: str) -> str:
    context = click.Context(command, parent, info_name=name, terminal_width=WIDTH)
    return f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    main()
