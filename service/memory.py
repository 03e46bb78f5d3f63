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
_OWN_BLOCK: Final = 4 << 20
# Fewer bytes are soon used again.
_LARGE: Final = 256 << 10


def bound_heaps() -> None:
    """For this process and those that it forks: what is large has blocks of its own, what is free goes back.

    Otherwise glibc adapts both bounds to the largest block that was ever freed, up to 32 MB: then whatever a thread has
    once needed stays at the end of its heap, where nothing gives it back (mallopt(3)).
    """
    if set_option := getattr(ctypes.CDLL(None), "mallopt", None):
        set_option(_M_MMAP_THRESHOLD, _OWN_BLOCK)
        set_option(_M_TRIM_THRESHOLD, _OWN_BLOCK)


def give_back() -> None:
    """Call it after much has been freed, as by a load.

    glibc keeps what a thread has freed in that thread's own arena: 50 MB after loading 400 MB of weights. Other C
    libraries have no such call, and little to give back.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


class Heap:
    """Sees to it that memory goes back to the system some seconds after much has been freed.

    What large bodies leave behind between smaller things is kept, 500 MB after a minute of attacks. To give it back
    takes 10 ms, so it is not done after each.
    """

    def __init__(self, much: int = 64 << 20, seconds: float = 5.0) -> None:
        self._much = much
        self._seconds = seconds
        self._freed = 0
        self._timer: asyncio.TimerHandle | None = None

    def note(self, size: int) -> None:
        """So many bytes have been freed. In the event loop only."""
        if size < _LARGE:
            return
        self._freed += size
        if self._freed >= self._much and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._give_back)

    def _give_back(self) -> None:
        self._freed, self._timer = 0, None
        asyncio.get_running_loop().run_in_executor(None, give_back)


def keep_within(room: int) -> None:
    """From now on this process gets no more than so many bytes on top of what it has; to ask for more fails.

    Without it the kernel would end whom it likes once the container's memory is used up; under Kubernetes everybody.
    """
    status = Path("/proc/self/status").read_text().splitlines()
    data = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (data + room, data + room))
