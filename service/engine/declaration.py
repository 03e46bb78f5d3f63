"""What `model.toml` declares of a model, all of it optional."""

import math
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError
from pydantic_core import PydanticCustomError

from service.engine import places
from service.engine.config import harmless
from service.errors import RepositoryError
from service.tensors import DATATYPES, FREE, Signature, TensorSpec

FILE: Final = "model.toml"
_MOST: Final = 1 << 20
# What `a.b.c` costs tomllib grows with the square of its parts: with 30,000 of them it takes minutes.
_ENDLESS_KEY: Final = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){32}""")
_MOST_ELEMENTS: Final = 1 << 28
_CLASS: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PinnedTensor(_Table):
    """One input or output that every version must have."""

    name: str
    datatype: str = Field(json_schema_extra={"enum": list(DATATYPES)})
    shape: tuple[Annotated[int, Field(ge=FREE)], ...]

    def matches(self, spec: TensorSpec) -> bool:
        return (self.name, self.datatype, self.shape) == (spec.name, spec.datatype.name, spec.shape)

    def __str__(self) -> str:
        return f"{self.name}: {self.datatype}[{','.join(map(str, self.shape))}]"


class PinnedSignature(_Table):
    """A version whose signature differs is refused."""

    inputs: tuple[PinnedTensor, ...]
    outputs: tuple[PinnedTensor, ...]

    def difference(self, signature: Signature) -> str | None:
        """A sentence about the first tensor that is not as pinned; None where all are."""
        for kind, pinned, specs in (
            ("input", self.inputs, signature.inputs),
            ("output", self.outputs, signature.outputs),
        ):
            if len(pinned) == len(specs) and all(p.matches(s) for p, s in zip(pinned, specs, strict=True)):
                continue
            has = "; ".join(f"{spec.name}: {spec}" for spec in specs)
            return f"{FILE} pins the {kind}s {'; '.join(map(str, pinned))}, the model has {has}"
        return None


class SessionOptions(_Table):
    """Passed on to ONNX Runtime. `custom_operators` are libraries, which the operator must have allowed."""

    intra_op_threads: int | None = Field(None, ge=1, le=256)
    graph_optimization: Literal["all", "extended", "basic", "disabled"] = "all"
    config: dict[Annotated[str, AfterValidator(harmless)], str] = {}
    custom_operators: tuple[str, ...] = ()


class Limits(_Table):
    """`max_rows` in one request; `batch_rows` in one run of several, where `batching.max_rows` does not suit."""

    max_rows: PositiveInt | None = None
    batch_rows: PositiveInt | None = None


class PaddingRule(_Table):
    """How one symbolic axis is padded: with what in each input, and how much longer the longest may be."""

    inputs: dict[str, float | str]
    mask: str
    max_waste: float = Field(1.15, gt=1, le=10)


def _affordable(shape: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(shape) > _MOST_ELEMENTS:
        raise PydanticCustomError("shape", "an input to warm up with has at most 2**28 elements")
    return shape


def _class_name(text: str) -> str:
    if _CLASS.fullmatch(text):
        return text
    raise PydanticCustomError("transform", 'expected "package.module:Class"; a transform.py here need not be declared')


class WarmUpInput(_Table):
    """One input of a warm-up run; all ones where no data are given."""

    shape: Annotated[tuple[Annotated[int, Field(ge=0)], ...], AfterValidator(_affordable)]
    data: list[Any] | None = None


class Declaration(_Table):
    """`model.toml`. Every field has a default, so that a model needs no such file."""

    versions: Literal["latest", "all"] | Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = "latest"
    default_version: PositiveInt | None = None
    batch: bool = True
    limits: Limits = Limits()
    labels: dict[str, tuple[str, ...]] = {}
    padding: dict[str, PaddingRule] = {}
    inline: bool | None = None
    run_threads: int = Field(1, ge=1, le=64)
    tolerance: float = Field(1e-5, ge=0)
    providers: tuple[str, ...] = ()
    session: SessionOptions = SessionOptions()
    warm_up: tuple[dict[str, WarmUpInput], ...] = ()
    signature: PinnedSignature | None = None
    fallback: str | None = None
    task: Literal["embeddings"] | None = None
    transform: Annotated[str, AfterValidator(_class_name)] | None = None

    @classmethod
    def read(cls, directory: Path, read: places.Read = places.read) -> "Declaration":
        """The directory's `model.toml`, or the defaults where there is none. Raises RepositoryError."""
        file = directory / FILE
        if not os.path.lexists(file):
            return cls()
        try:
            text = read(file, _MOST).decode()
            if _ENDLESS_KEY.search(text):
                raise ValueError("a key has more than 32 parts")
            return cls.model_validate(tomllib.loads(text))
        except ValidationError as error:
            raise RepositoryError(f"{file}: {_sentences(error)}") from None
        except (ValueError, RecursionError) as error:  # no TOML, no UTF-8; a number too long, brackets too deep
            raise RepositoryError(f"{file} cannot be read: {error}") from None


def _sentences(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}, got {detail['input']!r:.200}"
        for detail in error.errors()
    )
