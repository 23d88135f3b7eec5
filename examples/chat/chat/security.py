"""The Content Security Policy: nothing but this site's own files, and nothing inline.

Django 6 has a middleware of its own for it; this one is for Django 5.2, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.utils.decorators import sync_and_async_middleware

__all__ = ["POLICY", "content_security_policy"]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@sync_and_async_middleware
def content_security_policy(get_response: Callable[..., Any]) -> Callable[..., Any]:
    """Put the policy on every response that has none of its own."""
    if iscoroutinefunction(get_response):

        async def asynchronously(request: Any) -> Any:
            response = await get_response(request)
            response.headers.setdefault("Content-Security-Policy", POLICY)
            return response

        return asynchronously

    def synchronously(request: Any) -> Any:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    return synchronously
