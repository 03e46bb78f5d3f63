"""Names in the document, each given once, and schemas whose definitions are components."""

import pytest
from pydantic import BaseModel

from service.web.components import Components, Names, Schemas


class Rows(BaseModel):
    size: int


class Instance(BaseModel):
    rows: list[Rows]


class Tree(BaseModel):
    branches: list["Tree"]


def ref(name: str) -> Schemas:
    return {"$ref": f"#/components/schemas/{name}"}


@pytest.mark.parametrize(
    ("taken", "wanted", "given"),
    [
        ((), "Cat", "Cat"),
        (("Cat",), "Cat", "CatN2"),
        (("Cat", "CatN2"), "Cat", "CatN3"),
        (("ABRows",), "AbRows", "AbRowsN2"),
        (("infer_a-b",), "infer_a_b", "infer_a_bN2"),
        (("Cat",), "Cats", "Cats"),
    ],
)
def test_a_name_differs_by_more_than_case_and_signs(taken: tuple[str, ...], wanted: str, given: str) -> None:
    names = Names(taken)
    assert names.take(wanted) == given
    assert names.take(wanted) != given


def test_what_a_schema_defines_becomes_a_component() -> None:
    schemas: Schemas = {}
    assert Components(schemas).add("CatInstance", Instance.model_json_schema(), "CatInstance") == ref("CatInstance")
    assert schemas == {
        "CatInstance": {
            "type": "object",
            "title": "CatInstance",
            "required": ["rows"],
            "properties": {"rows": {"type": "array", "title": "Rows", "items": ref("CatInstanceRows")}},
        },
        "CatInstanceRows": {
            "type": "object",
            "title": "CatInstanceRows",
            "required": ["size"],
            "properties": {"size": {"type": "integer", "title": "Size"}},
        },
    }


def test_a_component_is_not_written_over() -> None:
    """`CatInstanceRows` is also what the rows of a model `cat-instance` are called."""
    schemas: Schemas = {"CatInstanceRows": {"type": "string"}}
    Components(schemas).add("CatInstance", Instance.model_json_schema(), "CatInstance")
    assert schemas["CatInstanceRows"] == {"type": "string"}
    assert schemas["CatInstance"]["properties"]["rows"]["items"] == ref("CatInstanceRowsN2")
    assert schemas["CatInstanceRowsN2"]["title"] == "CatInstanceRowsN2"


def test_what_is_defined_alike_is_one_component() -> None:
    schemas: Schemas = {}
    components = Components(schemas)
    for name in ("Cat", "Dog"):
        assert components.add(name, Instance.model_json_schema()) == ref(name)
    assert list(schemas) == ["Rows", "Cat", "Dog"]


class Forest(BaseModel):
    oaks: Tree
    instances: list[Instance]


def test_what_refers_to_what_is_defined_alike_is_one_component() -> None:
    schemas: Schemas = {}
    components = Components(schemas)
    for name in ("Cat", "Dog"):
        assert components.add(name, Forest.model_json_schema()) == ref(name)
    assert list(schemas) == ["Instance", "Rows", "Tree", "Cat", "Dog"]


def test_what_refers_to_what_is_defined_otherwise_is_another_component() -> None:
    def schema(size: str) -> Schemas:
        inner = {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"type": size}, "c": {"type": "null"}}
        return {"$defs": inner, "items": [{"$ref": f"#/$defs/{name}"} for name in inner]}

    schemas: Schemas = {}
    components = Components(schemas)
    components.add("Cat", schema("integer"))
    components.add("Dog", schema("string"))
    assert list(schemas) == ["a", "b", "c", "Cat", "aN2", "bN2", "Dog"]
    assert schemas["aN2"] == {"items": ref("bN2"), "title": "aN2"}
    assert schemas["Dog"] == {"items": [ref("aN2"), ref("bN2"), ref("c")], "title": "Dog"}


def test_a_type_that_holds_itself_is_no_mere_reference() -> None:
    """Generators of clients pass over what takes one."""
    schemas: Schemas = {}
    components = Components(schemas)
    assert components.add("CatInstance", Tree.model_json_schema(), "CatInstance") == ref("CatInstance")
    assert schemas == {
        "CatInstance": {
            "type": "object",
            "title": "CatInstance",
            "required": ["branches"],
            "properties": {"branches": {"type": "array", "title": "Branches", "items": ref("CatInstance")}},
        }
    }


def test_a_reference_to_elsewhere_stays() -> None:
    schemas: Schemas = {}
    assert Components(schemas).add("Cat", {"$ref": "https://example.org/cat.json"}) == ref("Cat")
    assert schemas == {"Cat": {"$ref": "https://example.org/cat.json", "title": "Cat"}}


def test_text_that_only_looks_like_a_reference_stays() -> None:
    schemas: Schemas = {}
    Components(schemas).add("Cat", {"type": "string", "description": "#/$defs/Nothing"})
    assert schemas["Cat"] == {"type": "string", "title": "Cat", "description": "#/$defs/Nothing"}
