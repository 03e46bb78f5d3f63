"""Faults that were found while unit tests were brought up to date: each test fails until its fault is gone."""

from pathlib import Path

from service.telemetry.lines import LineWriter


def test_a_writer_keeps_its_stream_open(tmp_path: Path) -> None:
    """It holds the buffer alone; once nobody else has the stream, that is closed, and every later line raises."""
    writer = LineWriter((tmp_path / "log").open("w"))
    writer.write("one\n")
    assert (tmp_path / "log").read_text() == "one\n"
