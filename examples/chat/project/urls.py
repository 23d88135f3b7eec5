"""The chat's pages, and the library's views beside them."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("", include("chat.urls")),
    path("opencode/", include("opencode_sessions.django.urls")),
]
