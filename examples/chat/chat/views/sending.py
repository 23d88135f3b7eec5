"""Prompts are sent: the first of a conversation, the next one, and one that was edited."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial

from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from chat.files import UPLOADS
from chat.forking import branch
from chat.models import Conversation, Message
from chat.views.pages import render_turns
from opencode_sessions.display import display_error
from opencode_sessions.django import enqueue
from opencode_sessions.errors import OpencodeError
from opencode_sessions.files.errors import UploadError
from opencode_sessions.texts import number

__all__ = ["begin", "resend", "send"]

LONGEST_PROMPT = 100_000
"""Characters; the page's own script knows it from `data-longest`."""


@require_POST
def begin(request: HttpRequest) -> HttpResponse:
    """Begin a conversation with a prompt."""
    prompt, key = _prompt(request), _key(request)
    if len(prompt) > LONGEST_PROMPT:
        return _too_long(request, prompt)
    if not prompt:
        return redirect("home")

    def store() -> Message:
        conversation = Conversation(owner=request.user, title=Conversation.title_for(prompt))
        return _store(request, conversation, prompt, key)

    try:
        return redirect(_once(request, key, store).conversation)
    except UploadError as error:
        return _not_taken(request, str(error), error.status, prompt)


@require_POST
def send(request: HttpRequest, pk: int) -> HttpResponse:
    """Send the next prompt; the new turn comes back, or the way to it."""
    conversation = get_object_or_404(Conversation.objects.of(request.user), pk=pk)
    prompt, key = _prompt(request), _key(request)
    if len(prompt) > LONGEST_PROMPT:
        return _too_long(request, prompt)
    if not prompt:
        return (
            HttpResponseBadRequest(gettext("Write something first."))
            if _is_part(request)
            else redirect(conversation)
        )
    try:
        sent = _once(request, key, partial(_store, request, conversation, prompt, key))
    except UploadError as error:
        return _not_taken(request, str(error), error.status, prompt)
    return _answer(request, sent)


@require_POST
def resend(request: HttpRequest, pk: int) -> HttpResponse:
    """Send a prompt in other words: the conversation up to it goes on in a branch, and this one stays as it is."""
    message = get_object_or_404(Message, pk=pk, conversation__owner=request.user)
    prompt, key = _prompt(request), _key(request)
    if len(prompt) > LONGEST_PROMPT:
        return _too_long(request, prompt)
    if not prompt:
        return redirect(message.conversation)
    try:
        sent = _once(request, key, partial(branch, message, prompt, key))
    except OpencodeError as error:
        why = display_error({"name": type(error).__name__})
        said = gettext("It could not be sent.")
        messages.error(request, f"{said} {why.title}. {why.advice}" if why else said)
        return redirect(message.conversation)
    return redirect(sent.conversation)


def _store(request: HttpRequest, conversation: Conversation, prompt: str, key: uuid.UUID) -> Message:
    """With the files that were sent with it. The turn is run after the transaction.

    Raises:
        UploadError: One of the files is not taken.
    """
    uploads = UPLOADS.save(conversation, request.FILES.getlist("files"))
    try:
        with transaction.atomic():
            conversation.touched_at = timezone.now()
            conversation.save()
            message = conversation.messages.create(prompt=prompt, key=key, opencode_uploads=uploads)
            enqueue(message)
    except BaseException:
        UPLOADS.discard(uploads)
        raise
    return message


def _once(request: HttpRequest, key: uuid.UUID, store: Callable[[], Message]) -> Message:
    """What the form with this key has sent, now or before: the line broke, perhaps, or somebody clicked twice."""
    sent = Message.objects.filter(key=key, conversation__owner=request.user)
    try:
        return sent.first() or store()
    except IntegrityError:  # it was stored between the two
        return sent.get()


def _answer(request: HttpRequest, message: Message) -> HttpResponse:
    if _is_part(request):
        return render_turns(request, Message.objects.filter(pk=message.pk))
    return redirect(f"{message.conversation.get_absolute_url()}#m{message.pk}")


def _too_long(request: HttpRequest, prompt: str) -> HttpResponse:
    """Say so; without the page's script there is all of it on a page of its own, to be shortened and sent again."""
    said = gettext("This is too long: it has {length} characters, and {most} is the most.").format(
        length=number(len(prompt)), most=number(LONGEST_PROMPT)
    )
    return _not_taken(request, said, 413, prompt)


def _not_taken(request: HttpRequest, said: str, status: int, prompt: str) -> HttpResponse:
    if _is_part(request):
        return HttpResponse(said, status=status, content_type="text/plain; charset=utf-8")
    return render(request, "chat/too_long.html", {"said": said, "prompt": prompt}, status=status)


def _is_part(request: HttpRequest) -> bool:
    """Does the page's own script ask?"""
    return request.headers.get("X-Chat") == "part"


def _prompt(request: HttpRequest) -> str:
    return request.POST.get("prompt", "").replace("\r\n", "\n").strip()


def _key(request: HttpRequest) -> uuid.UUID:
    try:
        return uuid.UUID(request.POST.get("key", ""))
    except ValueError:
        return uuid.uuid4()
