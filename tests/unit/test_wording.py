"""What Pydantic finds, in the service's own words."""

from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from service.wording import explain


def even(value: int) -> int:
    if value % 2:
        raise ValueError("an odd number of legs")
    return value


class Owner(BaseModel):
    name: str = Field(min_length=1)


class Cat(BaseModel):
    model_config = ConfigDict(extra="forbid")

    age: float = 1
    legs: Annotated[int, AfterValidator(even)] = 4
    tame: bool = True
    coat: Literal["plain", "spotted"] = "plain"
    lives: int = Field(9, ge=1)
    owners: list[Owner] = []
    toys: dict[str, int] = {}
    sizes: tuple[float, ...] = ()


def mistakes(kind: Any, value: Any, where: str = "cat") -> list[str]:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    return explain(caught.value, where)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"age": "x"}, 'cat.age: expected a number, got "x"'),
        ({"age": None}, "cat.age: expected a number, got null"),
        ({"age": []}, "cat.age: expected a number, got an array"),
        ({"lives": 1.5}, "cat.lives: expected an integer, got 1.5"),
        ({"lives": "many"}, 'cat.lives: expected an integer, got "many"'),
        ({"lives": 0}, "cat.lives: expected at least 1, got 0"),
        ({"tame": "often"}, 'cat.tame: expected true or false, got "often"'),
        ({"coat": "striped"}, "cat.coat: expected 'plain' or 'spotted', got \"striped\""),
        ({"legs": 3}, "cat.legs: an odd number of legs"),
        ({"owners": {}}, "cat.owners: expected an array, got an object"),
        ({"owners": [{"name": "Ann"}, "Bob"]}, 'cat.owners[1]: expected an object, got "Bob"'),
        ({"owners": [{}]}, "cat.owners[0].name: expected a value, got none"),
        ({"owners": [{"name": 3}]}, "cat.owners[0].name: expected a string, got 3"),
        ({"owners": [{"name": ""}]}, 'cat.owners[0].name: string should have at least 1 character, got ""'),
        ({"toys": []}, "cat.toys: expected an object, got an array"),
        ({"toys": {"red ball": True, "mouse": "two"}}, 'cat.toys.mouse: expected an integer, got "two"'),
        ({"toys": {"red ball": "two"}}, "cat.toys['red ball']: expected an integer, got \"two\""),
        ({"sizes": 3}, "cat.sizes: expected an array, got 3"),
        ({"wings": 2}, "cat.wings: there is no such field"),
        (True, "cat: expected an object, got true"),
    ],
)
def test_a_mistake_is_a_path_and_what_was_expected_and_what_came(given: Any, sentence: str) -> None:
    assert mistakes(Cat, given) == [sentence]


class Dog(BaseModel):
    kind: int | list[Owner] = 0
    owner: Owner | dict[str, int] | None = None
    sizes: tuple[float, float] = (0, 0)


@pytest.mark.parametrize(
    ("given", "sentences"),
    [
        ({"kind": {}}, ["dog.kind: expected an integer, got an object", "dog.kind: expected an array, got an object"]),
        (
            {"kind": [{}]},
            ["dog.kind: expected an integer, got an array", "dog.kind[0].name: expected a value, got none"],
        ),
        (
            {"owner": {"name": ""}},
            [
                'dog.owner.name: string should have at least 1 character, got ""',
                'dog.owner.name: expected an integer, got ""',
            ],
        ),
        ({"owner": 3}, ["dog.owner: expected an object, got 3"]),
        ({"sizes": [1]}, ["dog.sizes[1]: expected a value, got none"]),
        ({"sizes": [1, "x"]}, ['dog.sizes[1]: expected a number, got "x"']),
    ],
)
def test_a_path_has_only_what_the_caller_can_find(given: Any, sentences: list[str]) -> None:
    """Pydantic's own also name the types that it has tried."""
    with pytest.raises(ValidationError) as caught:
        Dog.model_validate(given)
    assert explain(caught.value, "dog", given) == sentences


def test_the_path_of_what_is_no_json_is_told_whole() -> None:
    given = SimpleNamespace(name=3)
    with pytest.raises(ValidationError) as caught:
        Owner.model_validate(given, from_attributes=True)
    assert explain(caught.value, "owner", given) == ["owner.name: expected a string, got 3"]


def test_every_mistake_is_told() -> None:
    assert mistakes(Cat, {"age": "x", "lives": "y"}, "instances[3]") == [
        'instances[3].age: expected a number, got "x"',
        'instances[3].lives: expected an integer, got "y"',
    ]


def test_without_a_place_a_path_begins_with_a_name() -> None:
    assert mistakes(Cat, {"age": "x"}, "") == ['age: expected a number, got "x"']
    assert mistakes(int, "x", "") == ['it: expected an integer, got "x"']


def test_what_is_long_is_shortened() -> None:
    [sentence] = mistakes(dict[str, int], {"a" * 10_000: "b" * 10_000})
    assert (len(sentence) < 400, "aaa..." in sentence, "bbb..." in sentence) == (True, True, True)


def test_an_object_that_is_no_json_is_told_by_its_type() -> None:
    assert mistakes(float, object()) == ["cat: expected a number, got an object of object"]
