"""Other people's text, as our messages repeat it: a path, a name, the value of a header."""

from typing import Final

_MOST_REPEATED: Final = 100


def shorten(text: str, most: int = _MOST_REPEATED) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def quoted(text: str) -> str:
    """As Python writes it, which for some characters takes ten others, and then shortened."""
    return shorten(repr(text[: _MOST_REPEATED + 1]))


def printable(text: str) -> str:
    """It may hold anything: line breaks, terminal codes, bytes that are no UTF-8."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
