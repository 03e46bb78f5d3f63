"""The code of a transform: where it is found, what it must be, and that what was checked is what runs."""

import gc
import importlib
import pickle
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from textwrap import dedent

import pytest

from service.engine import code
from service.engine.code import find
from service.engine.manifest import Code, Entry
from service.engine.model import Model
from service.engine.places import Root
from service.engine.session import Compute
from service.engine.sources import Sources
from service.errors import RepositoryError
from tests import tiny
from tests.unit.loading import entry

DOUBLE = """
import numpy as np

class Doubling:
    Instance = list[float]
    Prediction = list[float]

    def before(self, instances):
        return {"x": np.array(instances, np.float32)}

    def after(self, outputs):
        return outputs["y"]
"""
GREETING = """
class Greeting:
    Instance = Prediction = str

    def __init__(self, folder):
        self.greeting = (folder / "greeting.txt").read_text()

    def before(self, instances): ...
    def after(self, outputs): ...
"""


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's, whose only file is called `model.onnx`."""
    made = tmp_path / "models" / "tiny"
    made.mkdir(parents=True)
    (made / "model.onnx").touch()
    return made


def found(folder: Path, declared: str | None = None, is_allowed: bool = True) -> Code | None:
    sources = Sources(folder, Root(folder.parent))
    return find(folder, declared, sources, [folder / "model.onnx"], is_allowed)


def refusal(folder: Path, declared: str | None = None, is_allowed: bool = True) -> str:
    with pytest.raises(RepositoryError) as caught:
        found(folder, declared, is_allowed)
    return str(caught.value)


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(dedent(text))


def test_a_model_without_code_has_none(folder: Path) -> None:
    assert found(folder) is None
    assert find(None, None, Sources(folder, Root(folder)), (), is_allowed=False) is None


def test_a_file_beside_the_model_is_its_transform_and_may_read_what_lies_there(folder: Path) -> None:
    write(folder, transform_py=DOUBLE, model_toml="", words_txt="one", _hidden="")
    (folder / "1").mkdir()
    assert found(folder) == Code(
        folder=folder,
        target="transform.py",
        digest=digest(DOUBLE),
        source=DOUBLE,
        files=((folder / "words.txt", digest("one")),),
    )


@pytest.mark.parametrize(("name", "shown"), [("\udcff.txt", r"\udcff.txt"), ("a\nb.txt", r"a\nb.txt")])
def test_a_file_with_a_name_that_cannot_be_written_down_is_refused(folder: Path, name: str, shown: str) -> None:
    """Not every manifest and every list of checksums could hold it."""
    write(folder, transform_py=DOUBLE)
    (folder / name).touch()
    sentence = f"{folder}/{shown}: expected a name in UTF-8, without line breaks: rename the file"
    assert refusal(folder) == sentence


def test_a_class_that_is_declared_is_meant_and_not_the_file(folder: Path) -> None:
    write(folder, transform_py="1 / 0")
    assert found(folder, "colorsys:Transform") == Code(
        folder=folder,
        target="colorsys:Transform",
        digest=sha256(Path(importlib.import_module("colorsys").__file__ or "").read_bytes()).hexdigest(),
    )


@pytest.mark.parametrize("declared", [None, "colorsys:Transform"])
def test_code_that_is_forbidden_is_refused(folder: Path, declared: str | None) -> None:
    write(folder, transform_py=DOUBLE)
    assert refusal(folder, declared, is_allowed=False) == (
        f"{declared or folder / 'transform.py'} is code, which ONNICORN_REPOSITORY__TRANSFORMS=false forbids: "
        "allow it if you trust whoever fills the repository, or take it out of the model's folder"
    )


def test_a_link_out_of_the_repository_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text(DOUBLE)
    (folder / "transform.py").symlink_to(tmp_path / "outside.py")
    assert f"{folder}/transform.py leads out of the repository" in refusal(folder)


def test_a_link_that_leads_nowhere_is_no_model_without_code(folder: Path) -> None:
    (folder / "transform.py").symlink_to("nowhere.py")
    assert refusal(folder) == f"{folder}/transform.py cannot be read: No such file or directory"


def test_code_is_of_a_reasonable_size_and_text(folder: Path) -> None:
    (folder / "transform.py").write_bytes(b"# \xff")
    assert refusal(folder).startswith(f"{folder}/transform.py is no UTF-8: ")
    (folder / "transform.py").write_bytes(b"#" * (1 << 20) + b"#")
    assert refusal(folder) == f"{folder}/transform.py is larger than 1 MiB, the most that is read of such a file"


def test_code_where_nobody_would_look_for_it_is_refused(folder: Path) -> None:
    version = folder / "1"
    version.mkdir()
    (version / "transform.py").write_text(DOUBLE)
    sources = Sources(folder, Root(folder.parent))
    with pytest.raises(RepositoryError, match=r"/1/transform.py would not be read: all versions of a model have one "):
        find(folder, None, sources, [version / "model.onnx"], is_allowed=True)


def test_checksums_hold_for_code_and_for_what_it_may_read(folder: Path) -> None:
    write(folder, transform_py=DOUBLE, words_txt="one")
    listed = f"{digest(DOUBLE)}  transform.py\n"
    (folder / "SHA256SUMS").write_text(listed)
    assert refusal(folder).startswith(f"{folder}/words.txt is not listed in {folder}/SHA256SUMS: ")
    (folder / "SHA256SUMS").write_text(f"{listed}{digest('one')}  words.txt\n")
    assert found(folder)
    write(folder, transform_py=DOUBLE + "#")
    assert f"{folder}/transform.py has SHA-256 " in refusal(folder)
    (folder / "transform.py").unlink()
    assert refusal(folder) == f"{folder}/transform.py cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ("nothing_of_that_name:Transform", "there is no module nothing_of_that_name: install it beside the service"),
        ("nothing.of.that.name:Transform", "nothing.of.that.name cannot be imported: ModuleNotFoundError: "),
        ("sys:Transform", "there is no module sys: "),
    ],
)
def test_a_module_that_is_not_there_is_named(folder: Path, declared: str, reason: str) -> None:
    assert refusal(folder, declared).startswith(f"transform in model.toml: {reason}")


@pytest.fixture
def checked(tmp_path: Path) -> Entry:
    return entry(tiny.double(), tmp_path)


def load(checked: Entry, source: str = "", target: str = "transform.py", **known: object) -> Model:
    """As a worker does it, with the code that was checked."""
    transform = Code.model_validate(
        {"folder": checked.file.parents[1], "target": target, "digest": "", "source": dedent(source), **known}
    )
    return Model(checked.model_copy(update={"transform": transform}), Compute())


def load_refusal(checked: Entry, source: str = "", target: str = "transform.py", **known: object) -> str:
    with pytest.raises(RepositoryError) as caught:
        load(checked, source, target, **known)
    return str(caught.value).replace(str(checked.file.parents[1]), ".")


@pytest.fixture
def modules() -> Callable[[], list[str]]:
    """Those that files have become since the test began."""

    def all_of_them() -> list[str]:
        return [name for name in sys.modules if name.startswith("transform_of_")]

    gc.collect()
    before = all_of_them()
    return lambda: [name for name in all_of_them() if name not in before]


def test_code_becomes_an_object_that_predicts(checked: Entry) -> None:
    model = load(checked, DOUBLE)
    assert [each.tolist() if hasattr(each, "tolist") else each for each in model.predict([[1.0, 2.0, 3.0, 4.0]])] == [
        [2, 4, 6, 8]
    ]


def test_a_transform_may_read_the_folder_that_it_is_given(checked: Entry) -> None:
    greeting = checked.file.parents[1] / "greeting.txt"
    greeting.write_text("hello")
    assert load(checked, GREETING, files=((greeting, digest("hello")),)).transform


def test_what_it_reads_must_be_what_was_checked(checked: Entry) -> None:
    greeting = checked.file.parents[1] / "greeting.txt"
    greeting.write_text("goodbye")
    sentence = load_refusal(checked, GREETING, files=((greeting, digest("hello")),))
    assert sentence == "./greeting.txt has changed since it was checked; restart the service to check it again"


def test_what_was_kept_of_it_is_read_instead(checked: Entry, tmp_path: Path) -> None:
    (checked.file.parents[1] / "greeting.txt").write_text("goodbye")
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "greeting.txt").write_text("hello")
    files = ((checked.file.parents[1] / "greeting.txt", digest("hello")),)
    entry = checked.model_copy(update={"snapshot": kept})
    assert load(entry, GREETING, files=files).transform
    (kept / "greeting.txt").write_text("damaged")
    assert load_refusal(entry, GREETING, files=files).startswith("./greeting.txt has changed since it was checked; ")
    (checked.file.parents[1] / "greeting.txt").write_text("hello")
    assert load(entry, GREETING, files=files).transform


def test_what_was_checked_runs_whatever_has_become_of_the_file(checked: Entry) -> None:
    (checked.file.parents[1] / "transform.py").write_text("1 / 0")
    assert load(checked, DOUBLE).transform


def test_annotations_may_be_strings_that_name_what_the_file_has(checked: Entry) -> None:
    model = load(
        checked,
        """
        from __future__ import annotations
        from pydantic import BaseModel

        class Point(BaseModel):
            next: Point | None = None
            place: Place | None = None

        class Place(BaseModel):
            x: float

        class Points:
            Instance = Prediction = Point

            def before(self, instances): ...
            def after(self, outputs): ...
        """,
    )
    assert model.transform
    [point] = model.transform.parse([{"next": {"place": {"x": 1}}}])
    assert model.transform.document([point]) == [{"next": {"next": None, "place": {"x": 1.0}}, "place": None}]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_of_that_name", "./transform.py cannot be run: ModuleNotFoundError: "),
        ("\n\n1 / 0", "./transform.py cannot be run: ZeroDivisionError: division by zero (line 3 of transform.py)"),
        ("raise SystemExit(3)", "./transform.py cannot be run: SystemExit: 3 (line 1 of transform.py)"),
        ("class A", "./transform.py cannot be run: SyntaxError: expected ':' (transform.py, line 1)"),
        ("x = 1", "./transform.py has no class with `before` and `after`: the docstring of service.engine.transform "),
        (
            "from service.engine.transform import Transform",
            "./transform.py has no class with `before` and `after`: the docstring of service.engine.transform shows",
        ),
        (
            DOUBLE + "class Other(Doubling): ...",
            "./transform.py has several transforms, Doubling, Other: call the one that is meant Transform",
        ),
        (
            "class A:\n    before = after = print\n    def __init__(self, folder): folder / 1",
            "A('.') of the transform: TypeError: unsupported operand type(s) for /: 'PosixPath' and 'int' (line 3 of ",
        ),
        ("class A:\n    before = after = print", "A has no type 'Instance': "),
        ("class Panic(BaseException): ...\nraise Panic('no')", "./transform.py cannot be run: Panic: no (line 2 of "),
        (
            "class A:\n    before = after = print\n    def __init__(self, folder): raise SystemExit(3)",
            "A('.') of the transform: SystemExit: 3 (line 3 of transform.py)",
        ),
        (
            "class A:\n    before = after = print\n    Instance = Prediction = str\n"
            "    @property\n    def media_types(self): return 1 / 0",
            "A of the transform: ZeroDivisionError: division by zero (line 5 of transform.py)",
        ),
    ],
)
def test_code_that_is_no_transform_is_refused_with_the_line(
    checked: Entry, modules: Callable[[], list[str]], source: str, reason: str
) -> None:
    assert load_refusal(checked, source).startswith(reason)
    assert modules() == []


def test_of_several_classes_the_one_with_the_name_is_meant(checked: Entry) -> None:
    source = DOUBLE.replace("Doubling", "Base") + "class Transform(Base):\n    Prediction = str\n"
    model = load(checked, source)
    assert model.transform
    assert model.transform.prediction_schema() == {"type": "string"}


SHAPE = """
from pydantic import BaseModel

class Shape(BaseModel):
    corners: int

class Shapes:
    Instance = Prediction = Shape

    def before(self, instances): ...
    def after(self, outputs): ...
"""


def test_what_code_makes_has_the_same_name_wherever_it_is_loaded(
    checked: Entry, modules: Callable[[], list[str]]
) -> None:
    first = load(checked, SHAPE)
    names = modules()
    assert first.transform
    [shape] = first.transform.parse([{"corners": 4}])
    assert pickle.loads(pickle.dumps(shape)) == shape
    again = load(checked, SHAPE)
    assert modules() == names
    del first, shape
    gc.collect()
    assert modules() == names
    assert again.transform
    assert again.transform.parse([{"corners": 4}])


def test_code_goes_with_its_model(checked: Entry, modules: Callable[[], list[str]]) -> None:
    model = load(checked, DOUBLE)
    assert modules() != []
    del model
    gc.collect()
    assert modules() == []


def test_code_that_is_refused_leaves_its_name_to_the_same_code_that_is_served(
    checked: Entry, modules: Callable[[], list[str]]
) -> None:
    """As where all but the code has changed."""
    served = load(checked, SHAPE)
    assert served.transform
    declaration = checked.declaration.model_copy(update={"task": "embeddings"})
    assert "task" in load_refusal(checked.model_copy(update={"declaration": declaration}), SHAPE)
    gc.collect()
    [shape] = served.transform.parse([{"corners": 4}])
    assert pickle.loads(pickle.dumps(shape)) == shape
    del served, shape
    gc.collect()
    assert modules() == []


def test_code_that_fails_leaves_its_name_to_the_same_code_that_is_served(checked: Entry, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    source = f"import pathlib\nif pathlib.Path({str(flag)!r}).exists(): raise ValueError\n{SHAPE}"
    served = load(checked, source)
    flag.touch()
    assert "ValueError" in load_refusal(checked, source)
    assert served.transform
    [shape] = served.transform.parse([{"corners": 4}])
    assert pickle.loads(pickle.dumps(shape)) == shape


def test_what_a_transform_imports_from_its_folder_leaves_no_byte_code_there(
    checked: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    beside = checked.file.parents[1] / "beside_a_transform.py"
    beside.write_text("x = 1")
    source = """
    import importlib, sys

    class A:
        Instance = Prediction = str
        before = after = print

        def __init__(self, folder):
            sys.path.insert(0, str(folder))
            importlib.import_module("beside_a_transform")
            sys.path.pop(0)
    """
    assert load(checked, source, files=((beside, digest("x = 1")),)).transform
    del sys.modules["beside_a_transform"]
    assert [file.name for file in beside.parent.iterdir() if file.name == "__pycache__"] == []
    assert not sys.dont_write_bytecode


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of an installed module `doubling_of_a_test`."""
    file = tmp_path / "site" / "doubling_of_a_test.py"
    file.parent.mkdir()
    file.write_text(DOUBLE)
    monkeypatch.syspath_prepend(str(file.parent))
    monkeypatch.setattr(code, "_IMPORTED", {})
    yield file
    sys.modules.pop(file.stem, None)


def test_a_class_of_a_package_is_a_transform(checked: Entry, package: Path) -> None:
    known = digest(DOUBLE)
    assert load(checked, target="doubling_of_a_test:Doubling", digest=known).transform
    assert load_refusal(checked, target="doubling_of_a_test:np", digest=known).startswith(
        "doubling_of_a_test:np is no class with `before` and `after`: "
    )
    assert load_refusal(checked, target="doubling_of_a_test:Absent", digest=known).startswith(
        "doubling_of_a_test:Absent is no class with `before` and `after`: "
    )


def test_a_package_that_has_changed_since_it_was_checked_is_refused(checked: Entry, package: Path) -> None:
    sentence = load_refusal(checked, target="doubling_of_a_test:Doubling", digest=digest("another"))
    assert sentence == (
        "module doubling_of_a_test is not the one that the model was checked with: "
        "restart the service, or roll it out anew"
    )


def test_a_package_that_is_in_use_is_not_taken_for_the_one_that_lies_there_now(checked: Entry, package: Path) -> None:
    assert load(checked, target="doubling_of_a_test:Doubling", digest=digest(DOUBLE)).transform
    package.write_text("# new")
    sentence = load_refusal(checked, target="doubling_of_a_test:Doubling", digest=digest("# new"))
    assert sentence.startswith("module doubling_of_a_test is not the one that the model was checked with: ")


def test_a_package_that_cannot_be_imported_is_named(checked: Entry, package: Path) -> None:
    package.write_text("1 / 0")
    sentence = load_refusal(checked, target="doubling_of_a_test:Doubling", digest=digest("1 / 0"))
    assert sentence == "doubling_of_a_test cannot be imported: ZeroDivisionError: division by zero"
