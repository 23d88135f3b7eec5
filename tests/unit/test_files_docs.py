"""The code of docs/files.md works as it stands; that for Django's settings is tested with Django."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from opencode_sessions import READ_WRITE
from opencode_sessions.files import FileLimits, Vouched
from opencode_sessions.sqlalchemy import RecordMixin

PAGE = Path(__file__).parents[2] / "docs" / "files.md"


def test_its_code_can_be_run():
    class Base(DeclarativeBase): ...

    names = {
        "Base": Base,
        "engine": create_engine("sqlite://"),
        "SECRET_KEY": b"secret",
        **{
            each.__name__: each
            for each in (FileLimits, Vouched, RecordMixin, Mapped, mapped_column, hashlib, json)
        },
        "READ_WRITE": READ_WRITE,
    }
    blocks = [
        each
        for each in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        if "jango" not in each
    ]
    assert len(blocks) == 5
    for block in blocks:
        exec(compile(block, PAGE, "exec", dont_inherit=True), names)  # noqa: S102 - the page's own code
    assert names["settings"].artifacts.store is names["STORE"]
    assert names["artifacts"].transforms
