"""Links that log a user in: once, within an hour, and from this machine only.

They are made as Django makes those that reset a password: they hold as long as the user has not logged in since. Django
looks at the second of the last login. These links look at its microsecond, and who uses one changes it by a
compare-and-set: of two requests at once, one gets in.
"""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

__all__ = ["is_local", "link_for", "use"]


class _Tokens(PasswordResetTokenGenerator):
    key_salt = "chat.door"

    def _make_hash_value(self, user: AbstractBaseUser, timestamp: int) -> str:
        return f"{super()._make_hash_value(user, timestamp)}{user.last_login}"


_TOKENS = _Tokens()


def link_for(username: str) -> str:
    """The path of a link that logs this user in, who is made if there is none of that name."""
    user, made = get_user_model().objects.get_or_create(username=username)
    if made:
        user.set_unusable_password()
        user.save()
    name = urlsafe_base64_encode(str(user.pk).encode())
    return reverse("enter", args=[name, _TOKENS.make_token(user)])


def use(name: str, token: str) -> AbstractBaseUser | None:
    """Whom a link logs in, this time only; None if it does not hold, or holds no more."""
    users = get_user_model().objects
    try:
        user = users.get(pk=urlsafe_base64_decode(name).decode(), is_active=True)
    except (ValueError, get_user_model().DoesNotExist):
        return None
    if not _TOKENS.check_token(user, token):
        return None
    before, now = user.last_login, timezone.now()
    if before is not None:
        now = max(now, before + timedelta(microseconds=1))  # also by a clock that was put back
    return user if users.filter(pk=user.pk, last_login=before).update(last_login=now) else None


def is_local(request: HttpRequest) -> bool:
    """Does it come from this machine?"""
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
