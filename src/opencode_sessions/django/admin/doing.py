"""Actions on selected rows, with a report of the result."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import messages
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from opencode_sessions.errors import OpencodeError
from opencode_sessions.texts import counted

__all__ = ["do_to_each"]

_MOST_PROBLEMS = 5


def do_to_each(
    request: HttpRequest,
    rows: Iterable[Any],
    act: Callable[[Any], bool],
    *,
    done: Callable[[int], str],
    not_done: Callable[[int], str],
) -> None:
    """Call `act` with each row; one that raises does not keep the others.

    Args:
        request: Whose user is told.
        rows: Those that were chosen.
        act: Returns whether there was anything to do.
        done: Makes the message about the objects that were changed, from their number.
        not_done: Likewise, about the others.
    """
    counts = {True: 0, False: 0}
    problems: list[str] = []
    for row in rows:
        try:
            counts[act(row)] += 1
        except (OpencodeError, ImproperlyConfigured) as error:
            problems.append(f"{row}: {error}")
    if counts[True]:
        messages.success(request, done(counts[True]))
    if counts[False]:
        messages.info(request, not_done(counts[False]))
    for problem in problems[:_MOST_PROBLEMS]:
        messages.error(request, problem)
    if more := len(problems[_MOST_PROBLEMS:]):
        messages.error(
            request,
            counted("{count} more could not be done either.", "{count} more could not be done either.", more),
        )
