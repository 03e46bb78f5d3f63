"""What Gunicorn may not be told otherwise: all of it is named, and the environment is read as a start reads it."""

import sys
from typing import Any

import pytest

from service.errors import Contradiction, SettingsError
from service.plan import Plan
from service.settings import Settings
from service.supervision import promises

PLAN = Plan(workers=2, intra_op_threads=1, shares_cpus=True, reasons=())


@pytest.fixture
def promised() -> dict[str, Any]:
    return promises.promises(Settings(), PLAN)


def configured(promised: dict[str, Any], arguments: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", arguments)
    return promises.configured(promised)


def test_what_is_promised_is_kept_where_nobody_says_otherwise(
    promised: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = configured(promised, "--backlog 64 --timeout 30", monkeypatch)
    promises.refuse_contradictions(cfg, promised)
    assert (cfg.backlog, cfg.workers, cfg.preload_app, cfg.bind) == (64, 2, True, ["127.0.0.1:8000"])


def test_every_contradiction_is_named(promised: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = configured(promised, "--workers 7 --reload -k sync", monkeypatch)
    with pytest.raises(Contradiction) as caught:
        promises.refuse_contradictions(cfg, promised)
    assert [sentence.partition(":")[0] for sentence in str(caught.value).split("; ")] == [
        "gunicorn's workers is 7, the plan says 2",
        "gunicorn's worker_class_str is sync, the plan says service.supervision.worker.Worker",
        "gunicorn's reload is True, the plan says False",
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--worker 3", "ambiguous option"),
        ("--backlog many", "invalid"),
        ("--certfile 'x", "no closing quotation"),
        ("--user nobody-has-this-name", "nobody-has-this-name"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_variable(
    promised: dict[str, Any], monkeypatch: pytest.MonkeyPatch, arguments: str, reason: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        configured(promised, arguments, monkeypatch)
    assert str(caught.value).startswith(f"GUNICORN_CMD_ARGS={arguments}: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("argv", "arguments"), [(["gunicorn", "-D"], ""), (["gunicorn"], "--daemon"), (["gunicorn"], "--backlog 3 -D")]
)
def test_a_daemon_is_refused(monkeypatch: pytest.MonkeyPatch, argv: list[str], arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(Contradiction, match="daemon mode is not supported"):
        promises.refuse_daemon({"GUNICORN_CMD_ARGS": arguments})
