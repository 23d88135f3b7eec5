"""The texts that people see, in their language: `text` and `counted` look them up.

    text("Stopped by {who}", who="Ada")
    counted("{count} file", "{count} files", 3)

The English text is the key. A catalogue, `django/locale/de/LC_MESSAGES/django.po`, has the translations. If it has
none, the English text is shown. A value stands for each `{name}` in a text; numbers are written as the language has it.

Which language that is:

| process | the language |
|---|---|
| with the app `opencode_sessions.django` | the one that is active in Django; the project's own catalogues come first |
| any other | the one of the innermost `speaking(…)`; English without one |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from opencode_sessions.texts.catalogues import Catalogues

__all__ = [
    "CATALOGUES",
    "CONTEXT",
    "TextSource",
    "accepted",
    "counted",
    "fill",
    "form",
    "language",
    "later",
    "number",
    "speaking",
    "stored_text",
    "text",
    "use",
]

CONTEXT = "opencode"
"""Of each entry in a catalogue (`msgctxt`), so that no text of a host's own, or of Django's, is mistaken for it."""

_NUMBER = re.compile(r"[0-9][0-9,]{0,20}")
_PLACE = re.compile(r"\{(\w+)\}")


class TextSource(Protocol):
    """Where texts come from."""

    @property
    def language(self) -> str:
        """The code of the current language, such as `de` or `de-at`."""

    def find(self, context: str, message: str) -> str:
        """A text in the current language; the message itself if there is none."""

    def find_plural(self, context: str, one: str, many: str, count: int) -> str:
        """The form for this count."""

    def speaking(self, language: str) -> AbstractContextManager[object]:
        """Inside, this is the current language, in this thread or task."""


CATALOGUES = Catalogues()
_source: TextSource = CATALOGUES


def use(source: TextSource) -> None:
    """Have all texts of this process come from there."""
    global _source  # noqa: PLW0603 - a process has one
    _source = source


def language() -> str:
    """The code of the current language; what is rendered in it is kept under this."""
    return _source.language


def speaking(language: str) -> AbstractContextManager[object]:
    """Inside, texts are in this language; if it is empty, nothing changes."""
    return _source.speaking(language) if language else nullcontext()


def accepted(header: str) -> str:
    """The language of our catalogues that a browser prefers; English if there is none.

    Args:
        header: Its `Accept-Language`.
    """
    return CATALOGUES.accepted(header)


def text(message: str, /, *, context: str = "", **values: object) -> str:
    """A text in the current language. It does not raise.

    Args:
        message: The English text, as a literal: a test finds it in the source.
        context: Tells texts apart that are the same in English only.
        values: What stands for each `{name}` in it.
    """
    return fill(_source.find(_context(context), message), values)


def counted(one: str, many: str, count: int, /, *, context: str = "", **values: object) -> str:
    """Likewise, in the form that the language has for this count, which is `{count}` in the text."""
    return fill(form(one, many, count, context=context), {"count": count, **values})


def form(one: str, many: str, count: int, *, context: str = "") -> str:
    """The same before its places are filled."""
    return _source.find_plural(_context(context), one, many, count)


def fill(found: str, values: Mapping[str, object]) -> str:
    """Put values in the places of a text. One pass: a value that has a `{name}` itself stays as it is."""
    return _PLACE.sub(lambda place: _shown(values.get(place[1], place[0])), found) if values else found


def later(message: str, /, **values: object) -> str:
    """The English text, which `text` or `stored_text` looks up when it is shown; a test finds its literal here, too."""
    return _PLACE.sub(lambda place: _in_english(values.get(place[1], place[0])), message)


def stored_text(message: str) -> str:
    """What a row keeps in English, with its number put in: `it is larger than 1,000 bytes`. What is unknown stays so.

    The catalogue has it with the place `{number}`.
    """
    found = _NUMBER.search(message)
    if found is None:
        return text(message)
    around = f"{message[: found.start()]}{{number}}{message[found.end() :]}"
    shown = text(around)
    return message if shown == around else fill(shown, {"number": int(found[0].replace(",", ""))})


def number(value: float, digits: int = 0) -> str:
    """A number as the language writes it: `1,234.5` in English, `1.234,5` in German."""
    example = text("1,234.5")  # its second character separates thousands, and its last but one the decimals
    thousands, point = (example[1], example[-2]) if len(example) == len("1,234.5") else ",."
    return f"{value:,.{digits}f}".translate({ord(","): thousands, ord("."): point})


def _context(more: str) -> str:
    return f"{CONTEXT} {more}" if more else CONTEXT


def _in_english(value: object) -> str:
    return f"{value:,}" if type(value) is int else str(value)


def _shown(value: object) -> str:
    return number(value) if type(value) is int else str(value)
