"""The unit is understood by systemd, gives the service the time that it needs, and not much else."""

import re
from pathlib import Path

from service.settings import Settings
from tests.deploy.programs import adapted, output, program
from tests.process.conftest import ROOT

UNIT = (ROOT / "deploy" / "systemd" / "onnicorn.service").read_text()
MAX_EXPOSURE = 20
"""In tenths, as `systemd-analyze security` counts: up to 2.0 it says "OK"; a unit without hardening has 9.6."""


def unit(folder: Path) -> str:
    """As installed into this checkout."""
    file = folder / "onnicorn.service"
    file.write_text(adapted(UNIT, {"/opt/onnicorn": str(ROOT)}))
    return str(file)


def seconds(name: str) -> float:
    return float(re.findall(rf"^{name}=(\d+)$", UNIT, re.MULTILINE)[0])


def test_systemd_understands_it(tmp_path: Path) -> None:
    assert output(program("systemd-analyze", "systemd"), "verify", "--man=no", unit(tmp_path)) == ""


def test_it_may_do_little(tmp_path: Path) -> None:
    output(
        program("systemd-analyze", "systemd"),
        "security",
        "--offline=true",
        f"--threshold={MAX_EXPOSURE}",
        unit(tmp_path),
    )


def test_it_has_the_time_to_end_in_order() -> None:
    lifecycle = Settings().lifecycle
    # What Gunicorn gives on top: see supervision/configuration.py.
    assert seconds("TimeoutStopSec") > lifecycle.drain_seconds + lifecycle.finish_seconds + 5


def test_it_has_the_time_to_load() -> None:
    assert seconds("TimeoutStartSec") > Settings().lifecycle.load_seconds
