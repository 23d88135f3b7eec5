"""The chat's addresses."""

from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from chat.views import changing, entering, pages, sending

urlpatterns = [
    path("", pages.home, name="home"),
    path("conversations/", pages.listing, name="conversations"),
    path("conversations/begin/", sending.begin, name="begin"),
    path("c/<int:pk>/", pages.conversation, name="conversation"),
    path("c/<int:pk>/send/", sending.send, name="send"),
    path("c/<int:pk>/rename/", changing.rename, name="rename"),
    path("c/<int:pk>/delete/", changing.delete, name="delete"),
    path("m/<int:pk>/", pages.turn, name="turn"),
    path("m/<int:pk>/resend/", sending.resend, name="resend"),
    path("enter/<str:name>/<str:token>/", entering.enter, name="enter"),
    path("login/", LoginView.as_view(template_name="chat/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
