"""How much memory a process has, may have, and gives back."""

import asyncio
import ctypes
import resource
from pathlib import Path
from typing import Final

from service.background import Background

# One for all calls: to look the library up leaves a cycle of references behind.
_C_LIBRARY: Final = ctypes.CDLL(None)

# glibc's names for the bounds, from malloc.h. To ask the system for each block of so many bytes costs little beside
# what is done with the block; of what is free at the end of an arena so much is kept.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_OWN_BLOCK: Final = 4 << 20
_FREE_END: Final = 256 << 10


def bound_heaps() -> None:
    """For this process and those that it forks: what is large has blocks of its own, what is free can be given back.

    Otherwise glibc adapts both thresholds to the largest block that was ever freed, up to 32 MB (mallopt(3)). Each
    thread has an arena, and in all but the first malloc_trim(3) passes over the free end.
    """
    if set_option := getattr(_C_LIBRARY, "mallopt", None):
        set_option(_M_MMAP_THRESHOLD, _OWN_BLOCK)
        set_option(_M_TRIM_THRESHOLD, _FREE_END)


def give_back() -> None:
    """Call it after much has been freed, as by a load.

    glibc keeps what was freed between smaller things: 50 MB after loading 400 MB of weights. Other C libraries have no
    such call, and little to give back.
    """
    trim = getattr(_C_LIBRARY, "malloc_trim", None)
    if trim:
        trim(0)


class Housekeeper(Background):
    """Gives memory back to the system every few seconds while the block runs.

    What large bodies leave free between smaller things fills again, a page here and a page there, for every request
    after them: 500 MB in the midst of attacks, 31 MB of 136 ten minutes later. To give it back takes less than a
    millisecond of a thread's time.
    """

    def __init__(self, interval: float = 5.0) -> None:
        self._interval = interval

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await asyncio.to_thread(give_back)


def keep_within(room: int) -> None:
    """From now on this process gets no more than so many bytes on top of what it has; to ask for more fails.

    Without it the kernel would end whom it likes once the container's memory is used up; under Kubernetes everybody.
    """
    status = Path("/proc/self/status").read_text().splitlines()
    data = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (data + room, data + room))
