"""How much memory a process has, may have, and gives back."""

import asyncio
import ctypes
import resource
from pathlib import Path
from typing import Final

# glibc's names for the bounds, from malloc.h. To ask the system for each block of so many bytes costs little beside
# what is done with the block.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_OWN_BLOCK: Final = 4 << 20
# Fewer bytes are soon used again.
_LARGE: Final = 256 << 10


def bound_heaps() -> None:
    """For this process and those that it forks: what is large has blocks of its own, what is free can be given back.

    Otherwise glibc adapts both thresholds to the largest block that was ever freed, up to 32 MB, and each thread has an
    arena with a free end of as many bytes, which malloc_trim(3) passes over in all but the first arena (mallopt(3)).
    Threads that wait for the interpreter's lock have no use for arenas of their own.
    """
    if set_option := getattr(ctypes.CDLL(None), "mallopt", None):
        set_option(_M_MMAP_THRESHOLD, _OWN_BLOCK)
        set_option(_M_TRIM_THRESHOLD, _OWN_BLOCK)
        set_option(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Call it after much has been freed, as by a load.

    glibc keeps what was freed between smaller things: 50 MB after loading 400 MB of weights. Other C libraries have no
    such call, and little to give back.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


class Heap:
    """Sees to it that memory goes back to the system within seconds of a large block's being freed.

    What large bodies leave behind between smaller things is kept: 16 MB of 106 after ten minutes of attacks, 500 MB in
    the midst of them. To give it back takes a millisecond, so it is not done after each.
    """

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def note(self, size: int) -> None:
        """So many bytes have been freed. In the event loop only."""
        if size >= _LARGE and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._give_back)

    def _give_back(self) -> None:
        self._timer = None
        asyncio.get_running_loop().run_in_executor(None, give_back)


def keep_within(room: int) -> None:
    """From now on this process gets no more than so many bytes on top of what it has; to ask for more fails.

    Without it the kernel would end whom it likes once the container's memory is used up; under Kubernetes everybody.
    """
    status = Path("/proc/self/status").read_text().splitlines()
    data = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (data + room, data + room))
