"""Links that log a user in: once, within an hour, and from this machine only.

They are made as Django makes those that reset a password: they hold as long as the user has not logged in since.
"""

from __future__ import annotations

from ipaddress import ip_address

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.tokens import default_token_generator
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

__all__ = ["is_local", "link_for", "user_of"]


def link_for(username: str) -> str:
    """The path of a link that logs this user in, who is made if there is none of that name."""
    user, made = get_user_model().objects.get_or_create(username=username)
    if made:
        user.set_unusable_password()
        user.save()
    name = urlsafe_base64_encode(str(user.pk).encode())
    return reverse("enter", args=[name, default_token_generator.make_token(user)])


def user_of(name: str, token: str) -> AbstractBaseUser | None:
    """Whom a link logs in; None if it does not hold, or holds no more."""
    try:
        user = get_user_model().objects.get(pk=urlsafe_base64_decode(name).decode(), is_active=True)
    except (ValueError, get_user_model().DoesNotExist):
        return None
    return user if default_token_generator.check_token(user, token) else None


def is_local(request: HttpRequest) -> bool:
    """Does it come from this machine?"""
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
