"""Wishes come in by one door, and each is dealt with once."""

from pathlib import Path

import pytest

from service.wishes import Wish, Wishes

LOAD = Wish(kind="load", model="cat")
UNLOAD = Wish(kind="unload", model="cat")


@pytest.fixture
def wishes(tmp_path: Path) -> Wishes:
    return Wishes(tmp_path / "wishes")


def test_where_nobody_has_asked_there_is_none(wishes: Wishes) -> None:
    assert wishes.after(0) is None


def test_wishes_come_in_the_order_in_which_they_were_asked_for(wishes: Wishes) -> None:
    ends = [wishes.ask(wish) for wish in (LOAD, UNLOAD, Wish())]
    assert wishes.after(0) == (LOAD, ends[0])
    assert wishes.after(ends[0]) == (UNLOAD, ends[1])
    assert wishes.after(ends[1]) == (Wish(), ends[2])
    assert wishes.after(ends[2]) is None


def test_the_same_wish_again_and_again_is_one(wishes: Wishes) -> None:
    for _ in range(3):
        end = wishes.ask(Wish())
    wishes.ask(LOAD)
    assert wishes.after(0) == (Wish(), end)


def test_a_wish_that_is_not_whole_yet_is_left(wishes: Wishes, tmp_path: Path) -> None:
    end = wishes.ask(LOAD)
    with (tmp_path / "wishes").open("a") as file:
        file.write('{"kind":')
    assert wishes.after(end) is None


def test_a_line_that_nobody_can_read_is_passed_over(wishes: Wishes, tmp_path: Path) -> None:
    """On a full disk half a line may have been written, with another behind it."""
    end = wishes.ask(LOAD)
    with (tmp_path / "wishes").open("a") as file:
        file.write('{"kind":{"kind":"all"}\n')
    last = wishes.ask(UNLOAD)
    assert wishes.after(end) == (UNLOAD, last)


@pytest.mark.parametrize(("wish", "concerned"), [(Wish(), ["cat", "dog"]), (LOAD, ["cat"]), (UNLOAD, ["cat"])])
def test_a_wish_concerns_one_model_or_all(wish: Wish, concerned: list[str]) -> None:
    assert [model for model in ("cat", "dog") if wish.concerns(model)] == concerned
