"""`Catalogues`: texts from `.mo` files, by the standard library's `gettext`."""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from os import PathLike
from pathlib import Path

__all__ = ["FOLDER", "Catalogues"]

FOLDER = Path(__file__).parent.parent / "django" / "locale"
"""Django finds its catalogues in the folder of the app, so ours are there."""

_DOMAIN = "django"
_ENGLISH = "en"
_MOST_WISHES = 20
_CODE = re.compile(r"[a-z]{2,8}(-[a-z0-9]{1,8})*")


class Catalogues:
    """A `TextSource` for processes without Django."""

    def __init__(self) -> None:
        self._folders: list[Path] = [FOLDER]
        self._known: list[str] = []  # its languages, once they were asked for
        self._language: ContextVar[str] = ContextVar("opencode_sessions_language", default=_ENGLISH)

    def add(self, folder: str | PathLike[str]) -> None:
        """Look for texts here first. The folder has `de/LC_MESSAGES/django.mo`, say, with any number of the texts."""
        path = Path(folder)
        if path not in self._folders:
            self._folders.insert(0, path)
            self._known = []

    def languages(self) -> list[str]:
        """The languages that there are texts in."""
        if not self._known:
            found = {
                path.parent.parent.name.replace("_", "-").lower()
                for folder in self._folders
                for path in folder.glob(f"*/LC_MESSAGES/{_DOMAIN}.mo")
            }
            self._known = sorted(found | {_ENGLISH})
        return self._known

    def accepted(self, header: str) -> str:
        """See `opencode_sessions.texts.accepted`."""
        known = self.languages()
        for wish in _wishes(header):
            if wish in known:
                return wish
            if (plain := wish.partition("-")[0]) in known:
                return plain
        return _ENGLISH

    @property
    def language(self) -> str:
        """See `TextSource.language`."""
        return self._language.get()

    def find(self, context: str, message: str) -> str:
        """See `TextSource.find`."""
        return self._current.pgettext(context, message)

    def find_plural(self, context: str, one: str, many: str, count: int) -> str:
        """See `TextSource.find_plural`."""
        return self._current.npgettext(context, one, many, count)

    @contextmanager
    def speaking(self, language: str) -> Iterator[None]:
        """See `TextSource.speaking`."""
        token = self._language.set(language.lower())
        try:
            yield
        finally:
            self._language.reset(token)

    @property
    def _current(self) -> gettext.NullTranslations:
        return _translations(self._language.get(), tuple(self._folders))


@cache
def _translations(language: str, folders: tuple[Path, ...]) -> gettext.NullTranslations:
    """Those of a language, each folder falling back on the next one."""
    first = gettext.NullTranslations()
    if not _CODE.fullmatch(language):
        return first  # it becomes a part of a path
    main, _, region = language.partition("-")
    for folder in reversed(folders):
        for name in dict.fromkeys([main, f"{main}_{region.upper()}" if region else main]):
            path = folder / name / "LC_MESSAGES" / f"{_DOMAIN}.mo"
            if path.is_file():
                with path.open("rb") as file:
                    found = gettext.GNUTranslations(file)
                found.add_fallback(first)
                first = found
    return first


def _wishes(header: str) -> list[str]:
    """The languages that a header names, the most wanted first."""
    wishes = []
    for place, each in enumerate(header.split(",")[:_MOST_WISHES]):
        name, _, weight = each.partition(";")
        try:
            wanted = float(weight.partition("=")[2] or 1)
        except ValueError:
            continue
        if wanted > 0 and name.strip():
            wishes.append((-wanted, place, name.strip().lower().replace("_", "-")))
    return [name for _, _, name in sorted(wishes)]
