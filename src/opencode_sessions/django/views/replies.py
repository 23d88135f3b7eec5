"""The answers of the views that control a turn: a status for a script, a redirect for a page without scripts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST

from opencode_sessions.django.views.access import outside_transactions, seen
from opencode_sessions.errors import AskAnsweredError, RecordGoneError, WireError
from opencode_sessions.host import steering

__all__ = ["Refused", "steers"]

_log = logging.getLogger("opencode_sessions.django")


class Refused(steering.Refused):
    """A request cannot be carried out. The answer has `status`, a text, and more values for a script."""

    def __init__(self, status: int, said: str, **told: str) -> None:
        super().__init__(status, said)
        self.told = told


def steers(
    act: Callable[[HttpRequest, models.Model], dict[str, Any] | None],
) -> Callable[[HttpRequest, str, str], HttpResponse]:
    """Make a view of a function that acts on a message's turn, and returns the answer for a script."""

    @require_POST
    @csrf_protect
    @outside_transactions
    @wraps(act)
    def view(request: HttpRequest, label: str, pk: str) -> HttpResponse:
        message = seen(request, label, pk)
        try:
            told = act(request, message)
        except steering.Refused as error:
            told = error.told if isinstance(error, Refused) else {}
            return _refusal(request, error.status, str(error), **told)
        except (RecordGoneError, ObjectDoesNotExist) as error:  # it was just deleted
            raise Http404(str(error)) from error
        except (AskAnsweredError, WireError) as error:
            if isinstance(error, WireError):
                _log.warning("%s of %s: %s", act.__name__, message, error)
            refused = steering.refusal_of(error)
            return _refusal(request, refused.status, str(refused))
        if (back := _back(request)) is not None:
            return _see_other(back)
        return HttpResponse(status=204) if told is None else JsonResponse(told)

    return view


def _refusal(request: HttpRequest, status: int, said: str, **told: str) -> HttpResponse:
    back = _back(request)
    if back is not None and hasattr(request, "_messages"):  # django.contrib.messages can show it
        messages.error(request, said)
        return _see_other(back)
    return JsonResponse({"error": said, **told}, status=status)


def _back(request: HttpRequest) -> str | None:
    """The next URL for a page without scripts; None for a script."""
    accepted = request.headers.get("Accept", "")
    if accepted.startswith("application/json"):
        return None
    wanted = request.POST.get("next", "")
    if not wanted and "text/html" in accepted:
        wanted = request.headers.get("Referer", "") or "/"
    if not wanted:
        return None
    ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if ours else "/"


def _see_other(back: str) -> HttpResponse:
    response = HttpResponseRedirect(back)
    response.status_code = 303
    return response
