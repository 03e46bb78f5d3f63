"""Where the threads of this process stand."""

import sys
import threading
from traceback import walk_stack
from typing import Any


def stacks() -> list[dict[str, Any]]:
    """Each thread's name and its calls, the innermost first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return [
        {
            "thread": names.get(ident, str(ident)),
            "calls": [
                f"{call.f_code.co_filename}:{line} {call.f_code.co_qualname}" for call, line in walk_stack(frame)
            ],
        }
        for ident, frame in sys._current_frames().items()
    ]
