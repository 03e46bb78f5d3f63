"""How much memory a process has, may have, and gives back."""

import ctypes
import resource
from pathlib import Path


def give_back() -> None:
    """Call it after much has been freed, as by a load.

    glibc keeps what a thread has freed in that thread's own arena: 50 MB after loading 400 MB of weights. Other C
    libraries have no such call, and little to give back.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def keep_within(room: int) -> None:
    """From now on this process gets no more than so many bytes on top of what it has; to ask for more fails.

    Without it the kernel would end whom it likes once the container's memory is used up; under Kubernetes everybody.
    """
    status = Path("/proc/self/status").read_text().splitlines()
    data = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (data + room, data + room))
