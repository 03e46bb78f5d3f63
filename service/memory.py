"""Memory that is free inside the process goes back to the system."""

import ctypes


def give_back() -> None:
    """Call it after much has been freed, as by a load.

    glibc keeps what a thread has freed in that thread's own arena: 50 MB after loading 400 MB of weights. Other C
    libraries have no such call, and little to give back.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
