"""`DjangoTexts`: texts in the language that is active in Django, from the catalogues of all apps.

A project's own catalogues, in `LOCALE_PATHS` or of an app that is listed earlier, come first.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from django.conf import settings
from django.utils import translation
from django.utils.functional import lazy

from opencode_sessions.texts import text

__all__ = ["DjangoTexts", "text_lazy"]

text_lazy = lazy(text, str)
"""`texts.text`, looked up each time it is shown: for what is said when a module is imported."""


class DjangoTexts:
    """A `TextSource`."""

    @property
    def language(self) -> str:
        """See `TextSource.language`."""
        return translation.get_language() or settings.LANGUAGE_CODE

    def find(self, context: str, message: str) -> str:
        """See `TextSource.find`."""
        return translation.pgettext(context, message)

    def find_plural(self, context: str, one: str, many: str, count: int) -> str:
        """See `TextSource.find_plural`."""
        return translation.npgettext(context, one, many, count)

    def speaking(self, language: str) -> AbstractContextManager[object]:
        """See `TextSource.speaking`."""
        return translation.override(language)
