"""Bytes that are nearly right: cut, doubled, swapped, and spiced with what readers of JSON and of HTTP stumble over."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parent / "corpus"
SPICES: Final = (
    *(b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"\0", b"\r\n", b"\n", b" ", b"\t", b"\xff", b"\xef\xbb\xbf"),
    *(b"null", b"true", b"false", b"NaN", b"Infinity", b"-Infinity", b"-", b"0", b"-0", b"1e999", b"1e-999", b"1.0"),
    *(b"9223372036854775807", b"9223372036854775808", b"18446744073709551615", b"18446744073709551616", b"-1"),
    *(
        b"9" * 400,
        b"0." + b"3" * 400,
        b"[" * 120,
        b'{"a":' * 120,
        b"\\ud800",
        b"\\u0000",
        b"\\ud83d\\ude00",
        b"\xf0\x9f",
    ),
    *(b'"inputs"', b'"outputs"', b'"data"', b'"shape"', b'"datatype"', b'"name"', b'"parameters"', b'"id"'),
    *(b'"binary_data_size"', b'"binary_data"', b'"binary_data_output"', b'"classification"', b'"BYTES"', b'"FP16"'),
    *(b"\xff\xff\xff\xff", b"\0\0\0\0", b"\1\0\0\0", b"[[1],[2,3]]", b"{}", b"[]", b"4294967296", b" " * 17_000),
)


def corpus() -> dict[str, bytes]:
    """Every input that was once interesting, by its file's name."""
    return {path.name: path.read_bytes() for path in sorted(CORPUS.iterdir())}


def mutate(chance: random.Random, data: bytes, others: Sequence[bytes] = (), most: int = 4) -> bytes:
    """One to `most` changes; now and then none, since what is right must stay right."""
    for _ in range(chance.randrange(most + 1)):
        data = chance.choice(_CHANGES)(chance, data, others)
    return data


def _place(chance: random.Random, data: bytes) -> int:
    return chance.randrange(len(data) + 1)


def _span(chance: random.Random, data: bytes) -> tuple[int, int]:
    start = _place(chance, data)
    return start, min(len(data), start + int(chance.expovariate(1 / 8)))


def _spice(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _span(chance, data)
    return data[:start] + chance.choice(SPICES) + data[chance.choice((start, end)) :]


def _flip(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    if not data:
        return data
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def _drop(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _span(chance, data)
    return data[:start] + data[end:]


def _double(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _span(chance, data)
    return data[:end] + data[start:end] * chance.choice((1, 1, 2, 50)) + data[end:]


def _cut(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return data[: _place(chance, data)]


def _splice(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = chance.choice(others) if others else data
    return data[: _place(chance, data)] + other[_place(chance, other) :]


def _digits(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Another number in the place of one."""
    places = [place for place, byte in enumerate(data) if 48 <= byte <= 57]
    if not places:
        return data
    place = chance.choice(places)
    return data[:place] + str(chance.choice((0, 1, 2, 9, 64, 255, 256, 65536, -1, 1.5))).encode() + data[place + 1 :]


_CHANGES: Final = (_spice, _spice, _flip, _drop, _double, _cut, _splice, _digits, _digits)
