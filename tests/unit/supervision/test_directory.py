"""The directory of a running service: fresh, its own, and rid of the dead ones'."""

import fcntl
import os
from pathlib import Path

import pytest

from service.supervision import child
from service.supervision.directory import DirectoryUnusable, create, prune, remove

# From Python 3.12 on; these children only make a directory and leave.
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def names(parent: Path) -> list[str]:
    return sorted(each.name for each in parent.iterdir())


def wait_until_free(directory: Path) -> None:
    """Until no process holds it any more."""
    descriptor = os.open(directory / "onnicorn.lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.close(descriptor)


def test_a_directory_is_new_and_nobody_elses(tmp_path: Path) -> None:
    made = create(tmp_path)
    assert made.parent == tmp_path
    assert made.name.startswith("onnicorn-")
    assert (made.stat().st_mode & 0o777, names(made)) == (0o700, ["onnicorn.lock"])


def test_two_services_never_meet(tmp_path: Path) -> None:
    made = {create(tmp_path).name for _ in range(3)}
    assert names(tmp_path) == sorted(made)
    assert len(made) == 3


@FORKS
def test_what_the_dead_left_is_removed(tmp_path: Path) -> None:
    def live_and_die() -> None:
        (create(tmp_path) / "file").touch()

    ours = create(tmp_path)
    assert child.wait(child.fork("master", live_and_die)) == 0
    assert len(names(tmp_path)) == 2
    prune(tmp_path)
    assert names(tmp_path) == [ours.name]


@FORKS
def test_a_directory_stays_while_any_process_of_its_service_lives(tmp_path: Path) -> None:
    reader, writer = os.pipe()

    def live_and_die() -> None:
        create(tmp_path)
        if not os.fork():
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)

    assert child.wait(child.fork("master", live_and_die)) == 0
    os.close(reader)
    [name] = names(tmp_path)
    prune(tmp_path)
    assert names(tmp_path) == [name]
    os.close(writer)
    wait_until_free(tmp_path / name)
    prune(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["onnicorn-models", "onnicorn", "onnicorn.sock", "other-1-1"])
def test_what_is_not_ours_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "file").touch()
    prune(tmp_path)
    assert names(tmp_path) == [name]


@pytest.mark.parametrize(("name", "left"), [("onnicorn-1", []), ("other-1", ["other-1"])])
def test_only_with_our_name_and_our_lock_file_is_it_ours(tmp_path: Path, name: str, left: list[str]) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "onnicorn.lock").touch()
    prune(tmp_path)
    assert names(tmp_path) == left


def test_a_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "onnicorn-notes").touch()
    prune(tmp_path)
    assert names(tmp_path) == ["onnicorn-notes"]


@pytest.mark.parametrize(("parent", "reason"), [("none", "No such file or directory"), ("file", "Not a directory")])
def test_a_parent_that_cannot_be_used_is_named(tmp_path: Path, parent: str, reason: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DirectoryUnusable) as caught:
        create(tmp_path / parent)
    assert str(caught.value) == (
        f"no directory can be made in {tmp_path}/{parent}: {reason}; set ONNICORN_RUN__DIR to a writable directory"
    )


def test_a_directory_is_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    made = create(tmp_path)
    (made / "file").touch()
    remove(made)
    remove(made)
    assert names(tmp_path) == []
