"""A folder as whoever reads it sees it: links are what they lead to."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.fetch.address import Address
from service.fetch.failures import FetchFailed, FetchInterrupted
from service.fetch.store import Object, Store


def objects(path: Path) -> dict[str, Object]:
    return {each.path: each for each in Store(Address.parse(str(path)), {}).objects()}


def content(path: Path) -> dict[str, bytes]:
    store = Store(Address.parse(str(path)), {})
    return {each.path: store.read(each, 0, each.size) for each in store.objects()}


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A ConfigMap, as the kubelet writes it: a change is one rename of `..data`."""
    mount = tmp_path / "mount"
    (mount / "..2026_11_21" / "1").mkdir(parents=True)
    (mount / "..2026_11_21" / "1" / "model.onnx").write_bytes(b"graph")
    (mount / "..2026_11_21" / "model.toml").write_bytes(b"toml")
    (mount / "..data").symlink_to("..2026_11_21")
    for name in ("1", "model.toml"):
        (mount / name).symlink_to(f"..data/{name}")
    return mount


def test_what_is_mounted_is_there_once(mounted: Path) -> None:
    assert content(mounted) == {"1/model.onnx": b"graph", "model.toml": b"toml"}


def test_one_file_behind_a_link_is_that_file(mounted: Path) -> None:
    assert content(mounted / "model.toml") == {"model.toml": b"toml"}


@pytest.mark.parametrize("path", ["1/model.onnx", "model.toml"])
def test_what_changes_behind_a_link_has_another_version(mounted: Path, path: str) -> None:
    before = objects(mounted)[path]
    os.utime(mounted / path, ns=(1, 1))
    after = objects(mounted)[path]
    assert before.size == after.size
    assert before.version != after.version


def test_a_file_of_the_year_1970_has_a_version(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    os.utime(tmp_path / "x", ns=(0, 0))
    assert objects(tmp_path)["x"].version == f"mtime 0.0 {(tmp_path / 'x').stat().st_ino}"


@pytest.mark.parametrize("gone", ["a/x", "b"])
def test_what_goes_while_it_is_listed_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """Or a file that is just written anew would be taken for withdrawn."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    walk = os.walk

    def vanishing(*arguments: Any, **options: Any) -> Iterator[Any]:
        for found in walk(*arguments, **options):
            if gone in (f"{Path(found[0]).name}/x", *found[1]):
                (tmp_path / gone).rename(tmp_path / "elsewhere")
            yield found

    monkeypatch.setattr(os, "walk", vanishing)
    with pytest.raises(FetchInterrupted, match=f"/{gone} has gone while {tmp_path} was listed: run it again"):
        objects(tmp_path)


def test_a_folder_that_is_not_there_is_not_one_that_goes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        objects(tmp_path / "nowhere")


@pytest.mark.parametrize("target", ["nowhere", "."])
def test_a_link_that_leads_nowhere_is_one_sentence(tmp_path: Path, target: str) -> None:
    (tmp_path / "x").symlink_to(target)
    with pytest.raises(FetchFailed, match="x is a link that leads nowhere: remove it, or bring what it leads to"):
        objects(tmp_path)


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cat").mkdir()
    scan = os.scandir

    def refused(path: str) -> object:
        if path.endswith("cat"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(PermissionError):
        objects(tmp_path)
