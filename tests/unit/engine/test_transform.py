"""A transform as the service uses it: JSON to instances, instances to tensors, outputs to predictions."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any

import numpy as np
import orjson
import pytest
from pydantic import BaseModel, ConfigDict, Field

from service.engine import transform as documentation
from service.engine.transform import BadInstance, Loaded, Raw
from service.engine.warm_up import warm_up
from service.errors import MalformedRequest, RepositoryError, TransformFailed
from service.tensors import Array, Datatype, Signature, Tensors, TensorSpec
from tests import tiny
from tests.unit.loading import transforming

DOCUMENTED = documentation.__doc__ or ""
X = TensorSpec("x", Datatype.FP32, (-1, 2), ("batch", ""))
Y = TensorSpec("y", Datatype.FP32, (-1, 2), ("batch", ""))
BATCHED = Signature((X,), (Y,), batch=True)


class Point(BaseModel):
    left: float
    right: float = 0


class Sum(BaseModel):
    total: float


class Adding:
    """The model's own answer, added up."""

    Instance: Any = Point
    Prediction: Any = Sum
    media_types = ("text/plain",)

    def __init__(self, folder: Path = Path()) -> None:
        self.batches: list[int] = []

    def read(self, body: bytes, media_type: str) -> Point:
        if not body:
            raise BadInstance("there is nothing in it")
        return Point(left=float(body))

    def before(self, instances: Sequence[Point]) -> dict[str, Any]:
        self.batches.append(len(instances))
        for index, point in enumerate(instances):
            if point.left < 0:
                raise BadInstance("too far left", index)
            if point.left > 100:
                raise BadInstance("somebody is too far right")
        return {"x": np.array([[point.left, point.right] for point in instances], np.float32)}

    def after(self, outputs: Tensors) -> list[Any]:
        return [Sum(total=row.sum()) for row in outputs["y"]]


def loaded(transform: Any = None, signature: Signature = BATCHED) -> Loaded:
    return Loaded("cat", 2, signature, transform or Adding())


def echo(tensors: Tensors) -> list[Array]:
    """A model that answers with what it is given."""
    return [tensors["x"]]


def parse_refusal(values: Sequence[Any], transform: Any = None) -> str:
    with pytest.raises(MalformedRequest) as caught:
        loaded(transform).parse(values)
    return str(caught.value)


def predict_refusal(*lefts: float, signature: Signature = BATCHED) -> str:
    with pytest.raises(MalformedRequest) as caught:
        loaded(signature=signature).predict([Point(left=left) for left in lefts], echo)
    return str(caught.value)


def fault(transform: Any) -> str:
    """What the log will say of a transform that is at fault; an answer says nothing of it."""
    with pytest.raises(TransformFailed) as caught:
        loaded(transform).predict([Point(left=1), Point(left=2)], echo)
    assert str(caught.value) == "the transform of model 'cat' version 2 failed; the log has the reason"
    return f"{type(caught.value.__cause__).__name__}: {caught.value.__cause__}"


def test_instances_go_in_and_predictions_come_out() -> None:
    transform = loaded()
    instances = transform.parse([{"left": 1, "right": 2}, {"left": 3}])
    predictions = transform.predict(instances, echo)
    assert (instances, predictions) == ([Point(left=1, right=2), Point(left=3)], [Sum(total=3), Sum(total=3)])
    assert transform.document(predictions) == [{"total": 3}, {"total": 3}]


class Chain(BaseModel):
    """It holds itself, so that its schema is a reference to its definition."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"next": {}}]})
    next: "Chain | None" = None


@pytest.mark.parametrize("instance", [Chain, Annotated[Chain, Field(examples=[{"next": {}}])]])
def test_the_examples_of_a_type_that_holds_itself_are_known(instance: Any) -> None:
    assert loaded(type("Chaining", (Adding,), {"Instance": instance})()).example() == [{"next": {}}]


def test_a_batch_is_transformed_as_a_whole() -> None:
    adding = Adding()
    loaded(adding).predict([Point(left=1)] * 5, echo)
    assert adding.batches == [5]


def test_without_a_batch_axis_instances_are_run_one_by_one() -> None:
    adding, fixed = Adding(), TensorSpec("x", Datatype.FP32, (1, 2))
    transform = loaded(adding, Signature((fixed,), (Y,)))
    assert transform.predict([Point(left=1), Point(left=2)], echo) == [Sum(total=1), Sum(total=2)]
    assert adding.batches == [1, 1]


class Masked(Adding):
    """As pooling does, which leaves out what was padded."""

    def after(self, outputs: Tensors) -> list[Any]:
        return [Sum(total=total) for total in (outputs["y"] * (outputs["x"] > 1)).sum(axis=1)]


def test_after_sees_what_before_has_made() -> None:
    assert loaded(Masked()).predict([Point(left=1, right=2), Point(left=3, right=4)], echo) == [
        Sum(total=2),
        Sum(total=7),
    ]


def test_nothing_is_transformed_where_there_is_nothing() -> None:
    adding = Adding()
    assert (loaded(adding).predict([], echo), adding.batches) == ([], [])


def test_what_is_wrong_with_an_instance_is_said_with_its_path() -> None:
    assert parse_refusal([{"left": 1}, {"left": "x"}]) == 'instances[1].left: expected a number, got "x"'


def test_all_instances_that_are_wrong_are_told_up_to_ten_mistakes() -> None:
    sentence = parse_refusal([{"left": 0, "right": None}, {}] + [{"left": "x", "right": "y"}] * 100)
    assert sentence.split("; ") == [
        "instances[0].right: expected a number, got null",
        "instances[1].left: expected a value, got none",
        *(
            f'instances[{index}].{side[0]}: expected a number, got "{side[1]}"'
            for index in range(2, 6)
            for side in SIDES
        ),
    ]


SIDES = (("left", "x"), ("right", "y"))


class Narrow(Adding):
    class Instance(BaseModel):
        left: float

        def model_post_init(self, context: Any) -> None:
            if self.left == 1:
                raise BadInstance("one is none")
            raise KeyError("left")


def test_what_a_type_raises_itself_is_not_the_callers_mistake_unless_it_says_so() -> None:
    assert parse_refusal([{"left": 1}], Narrow()) == "instances[0]: one is none"
    assert parse_refusal([{"left": "x"}, {"left": 1}, {"left": 1}], Narrow()) == (
        'instances[0].left: expected a number, got "x"; instances[1]: one is none; instances[2]: one is none'
    )
    with pytest.raises(TransformFailed):
        loaded(Narrow()).parse([{"left": 2}])


def test_a_bad_instance_is_the_callers_mistake_and_has_its_number() -> None:
    assert predict_refusal(1, 2, -3) == "instances[2]: too far left"


def test_a_bad_instance_without_a_number_is_the_only_one_or_any() -> None:
    assert predict_refusal(101) == "instances[0]: somebody is too far right"
    assert predict_refusal(1, 101) == "instances: somebody is too far right"


def test_a_bad_instance_has_the_callers_number_where_they_are_run_one_by_one() -> None:
    fixed = TensorSpec("x", Datatype.FP32, (1, 2))
    assert predict_refusal(1, 101, signature=Signature((fixed,), (Y,))) == "instances[1]: somebody is too far right"


@pytest.mark.parametrize("index", [2, -1, "first", 0.5])
def test_a_bad_instance_that_there_is_none_of_is_the_transforms_fault(index: Any) -> None:
    class Blaming(Adding):
        def before(self, instances: Sequence[Point]) -> dict[str, Any]:
            raise BadInstance("that one", index)

        def read(self, body: bytes, media_type: str) -> Point:
            raise BadInstance("that one", index)

    assert "Error: " in fault(Blaming())
    with pytest.raises(TransformFailed):
        loaded(Blaming()).read(Raw(b"", "text/plain"))


def test_the_number_of_a_bad_instance_may_be_numpys() -> None:
    class Counting(Adding):
        def before(self, instances: Sequence[Point]) -> dict[str, Any]:
            raise BadInstance("that one", np.argmax([point.left for point in instances]))  # type: ignore[arg-type]

    with pytest.raises(MalformedRequest, match=r"^instances\[1\]: that one$"):
        loaded(Counting()).predict([Point(left=1), Point(left=2)], echo)


def test_what_a_transform_does_with_its_list_is_its_own_business() -> None:
    class Draining(Adding):
        def before(self, instances: Sequence[Point]) -> dict[str, Any]:
            made = super().before(instances)
            instances.clear()  # type: ignore[attr-defined]
            return made

    given = [Point(left=1), Point(left=2)]
    assert loaded(Draining()).predict(given, echo) == [Sum(total=1), Sum(total=2)]
    assert len(given) == 2


def test_a_raw_body_is_read_where_the_others_are_run() -> None:
    assert loaded().predict([Raw(b"2.5", "text/plain"), Point(left=1)], echo) == [Sum(total=2.5), Sum(total=1)]
    with pytest.raises(MalformedRequest, match=r"^body: there is nothing in it$"):
        loaded().predict([Raw(b"", "text/plain")], echo)


def test_a_raw_body_is_an_instance() -> None:
    transform = loaded()
    assert (transform.media_types, transform.read(Raw(b"2.5", "text/plain"))) == (("text/plain",), Point(left=2.5))
    with pytest.raises(MalformedRequest, match=r"^body: there is nothing in it$"):
        transform.read(Raw(b"", "text/plain"))
    with pytest.raises(TransformFailed):
        transform.read(Raw(b"x", "text/plain"))


def test_a_raw_body_may_be_read_as_what_makes_an_instance() -> None:
    reading = type("Reading", (Adding,), {"read": lambda self, body, media_type: {"left": body.decode()}})
    transform = loaded(reading())
    assert transform.read(Raw(b"2.5", "text/plain")) == Point(left=2.5)
    with pytest.raises(MalformedRequest) as caught:
        transform.read(Raw(b"x", "text/plain"))
    assert str(caught.value) == 'body.left: expected a number, got "x"'


def before(result: Any) -> Any:
    """A transform that makes these inputs."""
    return type("Faulty", (Adding,), {"before": lambda self, instances: result})()


def after(result: Any) -> Any:
    """A transform that makes these predictions."""
    return type("Faulty", (Adding,), {"after": lambda self, outputs: result})()


@pytest.mark.parametrize(
    ("transform", "reason"),
    [
        (before(None), "AttributeError: 'NoneType' object has no attribute 'items'"),
        (before({}), "SignatureMismatch: inputs: expected 'x', got none: missing 'x'"),
        (before({"x": np.zeros((2, 2))}), "SignatureMismatch: input 'x': expected FP32[-1,2], got FP64[2,2]"),
        (before({"x": np.zeros(2, np.float32)}), "SignatureMismatch: input 'x': expected FP32[-1,2], got FP32[2]"),
        (
            before({"x": [[1, 2]]}),
            "TypeError: before: input 'x': expected a numpy array of numbers or strings, got an object of list",
        ),
        (
            before({"x": np.zeros(2, complex)}),
            "TypeError: before: input 'x': expected a numpy array of numbers or strings, got an array of complex128",
        ),
        (after(None), "TypeError: 'NoneType' object is not iterable"),
        (after([Sum(total=1)]), "ValueError: after: expected a prediction for each of 2, got 1"),
        (
            after([Sum(total=1), {"total": "much"}]),
            'ValueError: after: predictions[1].total: expected a number, got "much"',
        ),
    ],
)
def test_what_a_transform_makes_is_checked(transform: Any, reason: str) -> None:
    assert fault(transform) == reason


class Panic(BaseException):
    """As an extension in Rust raises it."""


@pytest.mark.parametrize("error", [SystemExit(3), Panic(3)])
def test_a_transform_does_not_end_the_process_nor_its_callers_wait(error: BaseException) -> None:
    class Ending(Adding):
        def before(self, instances: Sequence[Point]) -> dict[str, Any]:
            raise error

    assert fault(Ending()) == f"{type(error).__name__}: 3"


def test_who_presses_ctrl_c_is_heard() -> None:
    class Long(Adding):
        def before(self, instances: Sequence[Point]) -> dict[str, Any]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loaded(Long()).inputs([Point(left=1)])


def test_strings_may_be_an_array_as_numpy_makes_it() -> None:
    words = TensorSpec("x", Datatype.BYTES, (-1,), ("batch",))
    tensors = loaded(before({"x": np.array(["a", "bc"])}), Signature((words,), (Y,), batch=True)).inputs([1, 2])
    assert (tensors["x"].dtype, tensors["x"].tolist()) == (np.dtype(object), ["a", "bc"])


def test_predictions_may_be_whatever_makes_one() -> None:
    class Vectors(Adding):
        Prediction = list[float]

        def after(self, outputs: Tensors) -> Any:
            return outputs["y"]

    transform = loaded(Vectors())
    predictions = transform.predict([Point(left=1, right=2)], echo)
    assert json.dumps(transform.document(predictions)) == "[[1.0, 2.0]]"


def test_a_prediction_that_has_no_json_is_the_transforms_fault() -> None:
    class Odd(Adding):
        Prediction = object

    with pytest.raises(TransformFailed):
        loaded(Odd()).document([object()])


@pytest.mark.parametrize("value", [1 << 64, "\ud800"])
def test_a_prediction_that_cannot_be_written_is_the_transforms_fault(value: Any) -> None:
    with pytest.raises(TransformFailed):
        loaded(type("Large", (Adding,), {"Prediction": Any})()).document([value])


def test_a_number_that_is_not_finite_is_null() -> None:
    values = loaded().document([Sum(total=float("nan"))])
    assert orjson.dumps(values) == b'[{"total":null}]'


def test_fields_go_by_their_aliases_as_they_are_documented() -> None:
    class Named(BaseModel):
        total: float = Field(alias="theTotal")

    transform = loaded(type("Naming", (Adding,), {"Instance": Named, "Prediction": Named})())
    assert list(transform.prediction_schema()["properties"]) == ["theTotal"]
    assert transform.document(transform.parse([{"theTotal": 1}])) == [{"theTotal": 1.0}]


def test_instances_are_json_and_no_python_values() -> None:
    class Strict(BaseModel, strict=True):
        when: datetime
        seen: set[int] = set()

    class Coded(BaseModel, val_json_bytes="base64"):
        content: bytes

    transform = loaded(type("Dated", (Adding,), {"Instance": Strict})())
    when = datetime(2024, 5, 6, tzinfo=UTC)
    assert transform.parse([{"when": "2024-05-06T00:00:00Z", "seen": [1]}]) == [Strict(when=when, seen={1})]
    assert parse_refusal([{"when": 3}], type("Dated", (Adding,), {"Instance": Strict})()).startswith(
        "instances[0].when: expected "
    )
    coded = loaded(type("Coding", (Adding,), {"Instance": Coded})())
    assert coded.parse([{"content": "aGVsbG8="}]) == [Coded(content=b"hello")]


def test_its_types_are_documented() -> None:
    transform = loaded()
    assert transform.instance_schema() == Point.model_json_schema()
    assert transform.prediction_schema() == Sum.model_json_schema()


def test_an_example_is_what_the_type_shows_until_something_has_run() -> None:
    class Shown(Adding):
        class Instance(BaseModel, json_schema_extra={"examples": [{"left": 7}]}):
            left: float

    plain, shown = loaded(), loaded(Shown())
    assert (plain.example(), shown.example()) == (None, [{"left": 7}])
    for values in ([{"left": 1}], [{"left": 2}]):
        shown.note_example(values)
    assert shown.example() == [{"left": 1}]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"Instance": 3}, "Faulty.Instance is no type that Pydantic knows: "),
        ({"Prediction": "Unknown"}, "Faulty.Prediction has no JSON schema: "),
        ({"Prediction": type("Own", (), {})}, "Faulty.Prediction is no type that Pydantic knows: "),
        ({"read": None}, "Faulty has media_types and no `read(self, body, media_type)`"),
        (
            {"media_types": ("image/png")},
            "Faulty.media_types: expected a tuple of strings, such as (\"image/png\",) with its comma, got 'image/png'",
        ),
        ({"media_types": None}, "Faulty.media_types: expected a tuple of strings, such as ("),
        ({"media_types": (1,)}, "Faulty.media_types: expected a tuple of strings, such as ("),
        (
            {"media_types": ("Image/PNG",)},
            "Faulty.media_types: expected lower case and no parameters, such as 'image/png', got 'Image/PNG'",
        ),
        (
            {"media_types": ["application/json"]},
            "Faulty.media_types: application/json is read by the service itself: leave it out",
        ),
    ],
)
def test_types_that_are_none_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RepositoryError) as caught:
        loaded(type("Faulty", (Adding,), changes)())
    assert str(caught.value).startswith(sentence)


def test_a_type_that_is_missing_is_named() -> None:
    class Half:
        Instance = Point

    with pytest.raises(RepositoryError) as caught:
        loaded(Half())
    assert str(caught.value) == "Half has no type 'Prediction': expected `class Prediction(BaseModel)` in it"


def documented(pattern: str) -> str:
    match = re.search(pattern, DOCUMENTED, re.DOTALL)
    assert match
    return match[1]


def test_the_example_of_the_guide_is_a_transform(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    [source] = re.findall(r"```python\n(# models/iris/transform\.py\n.*?)```", guide, re.DOTALL)
    model = transforming(source, tiny.flowers(), tmp_path)
    assert model.transform
    assert model.predict(model.transform.parse([{"length": 1.4, "width": 0.2}])) == ["setosa"]
    with pytest.raises(MalformedRequest) as caught:
        model.transform.parse([{"length": 1.4, "width": "wide"}])
    assert f"`{caught.value}`" in guide


def test_the_example_of_the_documentation_is_a_transform(tmp_path: Path) -> None:
    """As it stands: the file, its golden sample, the request and its answer."""
    source = dedent(documented(r"\n\n(    \"\"\"Flowers .*?)\n\nThat is all"))
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "species.json").write_text('["setosa", "versicolor", "virginica"]')
    model = transforming(source, tiny.flowers(), tmp_path)
    assert model.transform
    golden = folder / "1" / "golden"
    golden.mkdir()
    (golden / "one.json").write_text(documented(r"documentation: `(.*?)`\."))
    warm_up(model)
    asked = json.loads(documented(r"with `(.*?)` is answered"))
    predictions = model.transform.document(model.predict(model.transform.parse(asked["instances"])))
    answer = json.loads(documented(r"answered by\n`(.*?)`;"))
    assert predictions == [each | {"score": pytest.approx(each["score"])} for each in answer["predictions"]]
    with pytest.raises(MalformedRequest, match=r"^instances\[0\]: no petal is wider than long$"):
        model.predict(model.transform.parse([{"length": 1, "width": 2}]))
