"""The way in by a link, see `chat.door`."""

from __future__ import annotations

from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from chat.door import is_local, use

__all__ = ["enter"]


@login_not_required
@require_GET
def enter(request: HttpRequest, name: str, token: str) -> HttpResponse:
    """Log in whom the link is for; say so if it holds no more."""
    user = use(name, token) if is_local(request) else None
    if user is not None:
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    elif not request.user.is_authenticated:
        return render(request, "chat/used_link.html", status=403)
    return redirect("home")
