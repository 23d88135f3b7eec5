"""The URLs of the views.

    path("opencode/", include("opencode_sessions.django.urls"))

and then, say, `reverse("opencode:events", args=["chat.message", 7])`.
"""

from __future__ import annotations

from django.urls import path

from opencode_sessions.django import views
from opencode_sessions.django.views.chats import chat_urls

app_name = "opencode"

urlpatterns = [
    path("turns/<str:label>/<path:pk>/events", views.events, name="events"),
    path("turns/<str:label>/<path:pk>/answer", views.answer, name="answer"),
    path("turns/<str:label>/<path:pk>/cancel", views.cancel, name="cancel"),
    path("turns/<str:label>/<path:pk>/retry", views.retry, name="retry"),
    path("turns/<str:label>/<path:pk>/files", views.files, name="files"),
    path("turns/<str:label>/<path:pk>/files.zip", views.archive, name="archive"),
    path("turns/<str:label>/<path:pk>/files/<str:file_id>/preview", views.preview, name="preview"),
    path("turns/<str:label>/<path:pk>/files/<str:file_id>/picture", views.picture, name="picture"),
    path("turns/<str:label>/<path:pk>/files/<str:file_id>/changes", views.changes, name="changes"),
    path("turns/<str:label>/<path:pk>/files/<str:message_id>/<str:attachment_id>", views.file, name="file"),
    path("turns/<str:label>/<path:pk>/files/<str:file_id>", views.download, name="download"),
    *chat_urls(),
]
