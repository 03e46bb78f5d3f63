"""Pin every dependency with hashes: requirements.txt for the service, requirements-fetch.txt for it with every store
that `onnicorn fetch` reads from, requirements-dev.txt for tests and checks.

The files name no package index: whoever installs uses the one that their pip knows.
"""

import subprocess
import sys

COMPILE = (
    *(sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet", "--upgrade"),
    *("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url"),
    *("--custom-compile-command", "make lock", "--group", "build"),
)
# The examples' own files are written by hand, and the tests run with what they name.
PINNED = ("requirements.txt", "examples/embeddings/requirements.txt", "examples/images/requirements.txt")
CONSTRAINTS = tuple(word for file in PINNED for word in ("-c", file))
STORES = tuple(word for extra in ("s3", "gs", "az", "https") for word in ("--extra", extra))


def main() -> None:
    for target, extra in (
        ("requirements.txt", ()),
        ("requirements-fetch.txt", (*STORES, "-c", "requirements.txt")),
        ("requirements-dev.txt", ("--group", "dev", *CONSTRAINTS)),
    ):
        subprocess.run([*COMPILE, *extra, "--output-file", target], check=True)


if __name__ == "__main__":
    main()
