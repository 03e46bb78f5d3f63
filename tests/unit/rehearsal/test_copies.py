"""How often each request was run is known from what the copies log."""

import json
from pathlib import Path

from rehearsal.copies import count


def test_a_request_that_was_refused_by_one_and_run_by_another_was_run_once(tmp_path: Path) -> None:
    lines = {
        "one": [("a", 200), ("b", 503), ("c", 429), ("d", 500)],
        "two": [("b", 200), ("c", 200), ("d", 200)],
    }
    for name, requests in lines.items():
        route = "/v2/models/{model}/infer"
        records: list[object] = [
            {"event": "request", "route": route, "request_id": each, "status": status} for each, status in requests
        ]
        records.append({"event": "refused", "request_ids": ["a", "e"]})
        records.append({"event": "request", "route": "/v2/health/live", "request_id": "probe", "status": 200})
        text = "\n".join(["[INFO] of another kind", *map(json.dumps, [{"event": "ready"}, *records])])
        (tmp_path / name).write_text(f'{text}\n{{"event": "requ')  # it was killed
    run, seen = count([tmp_path / name for name in lines])
    assert run == {"a": 1, "b": 1, "c": 1, "d": 2}
    assert seen == {"a": 3, "b": 2, "c": 2, "d": 2, "e": 2}
