"""Where the threads stand."""

import threading

from service.telemetry.stacks import stacks


def test_each_thread_is_named_with_its_innermost_call_first() -> None:
    begun, over = threading.Event(), threading.Event()

    def stand_still() -> None:
        begun.set()
        over.wait(60)

    thread = threading.Thread(target=stand_still, name="still")
    thread.start()
    begun.wait(60)
    found = {stack["thread"]: stack["calls"] for stack in stacks()}
    over.set()
    thread.join()
    own = test_each_thread_is_named_with_its_innermost_call_first.__name__
    assert [call.rpartition(" ")[2] for call in found["MainThread"][:2]] == ["stacks", own]
    calls = found["still"]
    [where] = [call for call in calls if call.endswith("stand_still")]
    assert where.startswith(f"{__file__}:")
    assert calls[0].endswith(" Condition.wait")
    assert calls[-1].endswith(" Thread._bootstrap")
