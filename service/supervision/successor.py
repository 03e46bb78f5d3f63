"""`python -m service.supervision.successor`: a reload's models, checked and prepared by a process of its own.

The coordinator starts it: ops must not load a model, and nothing that a model does while it is tried may touch a
process that serves. Its result is a manifest in the run directory.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from service import memory
from service.cgroup import Cgroup
from service.plan import room_left
from service.supervision.orphans import end_with_parent
from service.wishes import Wish

_NICE: Final = 10
_FIRST_TO_DIE: Final = "800"  # of at most 1000


def command(committed: Path, result: Path, wish: Wish, number: int) -> tuple[str, ...]:
    """What to execute, in the environment that the service was started in."""
    return (sys.executable, "-m", __name__, str(committed), str(result), wish.model_dump_json(), str(number))


def main(committed: str, result: str, wish: str, number: str) -> None:
    """Write what the generation `number` would be made of, the reasons against it included."""
    _step_back()
    # Only now: to import what runs models is most of the work for a small one.
    from service.engine.manifest import Manifest
    from service.loading import prepare_successor
    from service.settings import Settings
    from service.telemetry import logs

    settings = Settings.from_environment(os.environ)
    logs.configure(settings.log)
    room = room_left(Cgroup.of_this_process())
    if room is not None:
        memory.keep_within(room)
    before = Manifest.read(Path(committed))
    made = prepare_successor(settings, before, Wish.model_validate_json(wish), int(number), room)
    made.write(Path(result))


def _step_back() -> None:
    """Those who serve go first, on the CPU and in memory; and without a coordinator there is nobody to work for."""
    os.nice(_NICE)
    with suppress(OSError):  # not everybody may
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_DIE)
    end_with_parent()


if __name__ == "__main__":
    main(*sys.argv[1:])
