"""Conversations are renamed and deleted."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from chat.models import TITLE_LENGTH, UNFINISHED, Conversation
from opencode_sessions.django import cancel

__all__ = ["delete", "rename"]


@require_POST
def rename(request: HttpRequest, pk: int) -> HttpResponse:
    """Give it another title; the session's follows with the next turn."""
    conversation = get_object_or_404(Conversation.objects.of(request.user), pk=pk)
    title = " ".join(request.POST.get("title", "").split())[:TITLE_LENGTH]
    if title:
        conversation.title = title
        conversation.save(update_fields=["title"])
    return redirect(conversation)


@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete it with its session, once that is confirmed; what runs in it is stopped."""
    conversation = get_object_or_404(Conversation.objects.of(request.user), pk=pk)
    if request.method == "GET":
        return render(request, "chat/delete.html", {"conversation": conversation})
    for message in conversation.messages.filter(UNFINISHED):
        cancel(message, by=request.user.get_username())
    conversation.delete()
    return redirect("home")
