"""Write the README's tables anew from the code: `python -m tools.readme`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from service import errors
from service.settings import bounds, default, variables
from service.telemetry.metrics import READ_AT_SCRAPE, REGISTRY
from service.web.problems import RETRY_AFTER, STATUSES

# What may be sent again without a `Retry-After`.
AGAIN = {
    errors.RequestTimeout: "yes: nothing was run",
    errors.DeadlineExceeded: "as the caller likes: it may have been run",
}

README = Path(__file__).parent.parent / "README.md"


def main() -> None:
    README.write_text(render(README.read_text()))


def render(text: str) -> str:
    """The text with each table between its two markers replaced."""
    for name, rows in (("settings", _settings()), ("errors", _errors()), ("metrics", _metrics())):
        before, _, rest = text.partition(f"<!-- {name} -->")
        _, closing, after = rest.partition(f"<!-- /{name} -->")
        if not closing:
            raise SystemExit(f"README.md: expected the markers <!-- {name} --> and <!-- /{name} -->")
        text = f"{before}<!-- {name} -->\n{_table(rows)}\n{closing}{after}"
    return text


def _settings() -> Iterable[tuple[str, ...]]:
    yield "variable", "default", "meaning"
    for name, (_, _, field) in variables().items():
        yield f"`{name}`", _default(field), f"{field.description}{_bounds(field)}"


def _default(field: FieldInfo) -> str:
    value = default(field)
    if value is None or value == () or value == "":
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _bounds(field: FieldInfo) -> str:
    least, most = bounds(field)
    return "" if None in (least, most) else f" {least} to {most}."


def _errors() -> Iterable[tuple[str, ...]]:
    yield "code", "status", "meaning", "send it again?"
    for error, status in sorted(STATUSES.items(), key=lambda item: item[1]):
        meaning = (error.__doc__ or "").splitlines()[0]
        again = "after `Retry-After` seconds" if error in RETRY_AFTER else AGAIN.get(error, "no")
        yield f"`{error.code}`", str(status), meaning, again


def _metrics() -> Iterable[tuple[str, ...]]:
    yield "metric", "type", "labels", "meaning"
    # The registry has no public way to ask a metric for its labels before it has samples.
    metrics: Any = REGISTRY._collector_to_names
    declared = [(metric._name, metric._type, metric._labelnames, metric._documentation) for metric in metrics]
    read = [(name, kind, labels, text) for name, (kind, text, labels) in READ_AT_SCRAPE.items()]
    for name, kind, labels, text in (*declared, *read):
        suffix = "_total" if kind == "counter" else ""
        yield f"`{name}{suffix}`", kind, ", ".join(f"`{label}`" for label in labels), text


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    header, *body = rows
    lines = [header, ("---",) * len(header), *body]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    main()
