"""Coverage-guided fuzzing of the event stream's way into a reply, by hand: it runs until it is stopped.

    .venv/bin/pip install atheris          # CPython up to 3.13, Linux
    .venv/bin/python tests/fuzz/stream.py -max_total_time=300

It starts from the recordings. What makes it fail is written to a file `crash-…` in the current folder; give that as an
argument to see it again.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

with atheris.instrument_imports(include=["opencode_sessions.protocol", "opencode_sessions.wire.v1", "json"]):
    from fuzz_target import RECORDINGS, consume

_WIDEST_CUT = 255


def one_input(data: bytes) -> None:
    """The first bytes say where the rest is cut."""
    head, rest = data[:4], data[4:]
    step = max(len(rest) // _WIDEST_CUT, 1)
    consume(rest, [place * step for place in head])


def main() -> None:
    logging.disable(logging.WARNING)  # of every event that is not JSON
    with tempfile.TemporaryDirectory() as corpus:
        for path in RECORDINGS.glob("*.sse"):
            for number, frame in enumerate(path.read_bytes().split(b"\n\n")):
                Path(corpus, f"{path.stem}-{number}").write_bytes(bytes(4) + frame + b"\n\n")
            Path(corpus, path.stem).write_bytes(bytes(4) + path.read_bytes())
        atheris.Setup([*sys.argv, corpus, "-max_len=65536"], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
