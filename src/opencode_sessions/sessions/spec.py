"""The spec of a record's session (title, rules, directory), and the way to apply it on a server.

A server of the V1 line appends rules to those in force and never removes one, and the last match wins. So a new list of
rules decides about everything that it matches, and older rules decide about the rest. If an older `allow` is missing in
the new list, an `ask` for the same pattern is added, so that the old rule grants nothing. An older `ask` or `deny`
stays in force, because that is safe; only an explicit `allow` overrides it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from opencode_sessions.errors import NotGuardedError, SessionMovedError
from opencode_sessions.protocol.ids import marked
from opencode_sessions.protocol.permissions import Rule, ask, check_rules, digest, from_json
from opencode_sessions.protocol.places import directory_of
from opencode_sessions.protocol.rule_review import review_rules
from opencode_sessions.protocol.storable import storable
from opencode_sessions.protocol.values import SessionInfo
from opencode_sessions.sessions.ports import SessionWire
from opencode_sessions.validation import check_ordinary, not_awaitable, require

__all__ = [
    "TITLE_HINT",
    "PermissionsFor",
    "SessionSpec",
    "check_permissions_for",
    "check_place",
    "has_title",
    "is_bare",
    "is_in",
    "put_in_force",
    "put_label",
]

PermissionsFor = Callable[[Any], Iterable[Rule]] | Sequence[Rule]
"""The rules of every record, or a function from a record to its rules."""

_log = logging.getLogger("opencode_sessions.permissions")
_log_of_sessions = logging.getLogger("opencode_sessions.session")

_TITLES = ("opencode_title", "title")
_ABSENT = object()
TITLE_HINT = (
    "Define a property opencode_title on {}, or opencode_title = None if the server is to choose a title"
)

_DIGITS = 31


def check_permissions_for(given: PermissionsFor | None) -> PermissionsFor | None:
    """Check the argument `permissions_for`. A list of rules is returned as a tuple.

    Raises:
        ConfigurationError: It is a coroutine function, or neither rules nor a function.
    """
    check_ordinary("permissions_for", given)
    return given if given is None or callable(given) else check_rules(given)


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """The title, rules and directory of a session.

    Attributes:
        title: Empty if the record has none; the server's own title then stays.
        rules: None if there is no `permissions_for`; the rules in force then stay.
        directory: The directory in which its agent works, on the server's machine; None: the client's.
    """

    title: str
    rules: tuple[Rule, ...] | None
    directory: str | None

    @classmethod
    def of(cls, record: Any, permissions_for: PermissionsFor | None) -> SessionSpec:
        """The spec of this record.

        Raises:
            InvalidRulesError: `permissions_for` is not, or did not return, rules.
            ConfigurationError: The record's directory or title has the wrong type.
        """
        rules = None
        if permissions_for is not None:
            given = permissions_for(record) if callable(permissions_for) else permissions_for
            rules = check_rules(not_awaitable("permissions_for", given))
        place = not_awaitable("opencode_directory", getattr(record, "opencode_directory", None))
        directory = directory_of("opencode_directory", place)
        return cls(_title_of(record), rules, directory)

    def digest(self, in_force: str | None = None) -> str:
        """A fingerprint of at most 64 characters.

        Args:
            in_force: The digest of the spec in force. Its part about the rules is kept if `rules` is None.
        """
        place = f"{self.title}\0{self.directory or ''}"
        head = hashlib.sha256(place.encode()).hexdigest()[:_DIGITS]
        _, dot, tail = (in_force or "").partition(".")
        if self.rules is not None or not dot:
            tail = digest(self.rules or ())[:_DIGITS]
        return f"{head}.{tail}"

    def is_guarded(self, info: SessionInfo) -> bool:
        """Are these rules the last ones that the server shows?"""
        if self.rules is None:
            return True
        found = from_json(info.rules)
        return found[len(found) - len(self.rules) :] == self.rules and not _outdated(found, self.rules)

    def is_labelled(self, info: SessionInfo, metadata: Mapping[str, Any]) -> bool:
        """Does the server show this title and these metadata? There may be more metadata."""
        return (not self.title or info.title == self.title) and {**info.metadata, **metadata} == info.metadata


async def put_in_force(
    wire: SessionWire,
    session_id: str,
    brief: SessionSpec,
    metadata: Mapping[str, Any],
    *,
    create: bool = False,
) -> SessionInfo:
    """Give a session its title, rules and metadata, and check that the rules are in force.

    If the rules look closed but leave something open, a warning is logged, once for each list.

    Args:
        wire: The server.
        session_id: The session.
        brief: The title, rules and directory.
        metadata: The metadata.
        create: Create the session if there is none.

    Returns:
        The session as the server shows it.

    Raises:
        NotGuardedError: The rules are not in force.
        WireError: The server could not be reached, or refused.
    """
    title = brief.title or None
    if create:
        info = await wire.create(
            session_id, directory=brief.directory, title=title, rules=brief.rules or (), metadata=metadata
        )
    else:
        info = await wire.update(session_id, title=title, rules=brief.rules, metadata=metadata)
    if brief.rules is None:
        return info
    _warn_of(brief.rules)
    found = from_json(info.rules)
    _check_guarded(session_id, found, brief.rules)
    if outdated := _outdated(found, brief.rules):
        rules = [*(ask(rule.permission, rule.pattern) for rule in outdated), *brief.rules]
        info = await wire.update(session_id, title=None, rules=rules, metadata=None)
    return info


async def put_label(
    wire: SessionWire, info: SessionInfo, brief: SessionSpec, metadata: Mapping[str, Any]
) -> None:
    """Give a session its title and metadata; metadata of other programs stay.

    Raises:
        WireError: The server could not be reached, or refused.
    """
    await wire.update(info.id, title=brief.title or None, rules=None, metadata={**info.metadata, **metadata})


def is_bare(info: SessionInfo, mark: str) -> bool:
    """Is the session in the state of its creation, under an id with this mark: never guarded and never prompted?

    A prompt changes `updated` (1.18.33), but not in a fork. A fork looks new: it has no rules, and no metadata if its
    source had none. But the server chooses a fork's id, so the id has no mark.
    """
    untouched = info.updated == info.created and not info.rules and not info.metadata
    return untouched and marked(info.id, mark)


def is_in(info: SessionInfo, directory: str) -> bool:
    """Does a session live in this directory?"""
    return info.directory is not None and info.directory.rstrip("/\\") == directory.rstrip("/\\")


def check_place(info: SessionInfo, expected: str | None, record: str) -> None:
    """Check that the session is in the expected directory, if one is expected.

    Raises:
        SessionMovedError: It is in another one.
    """
    found = info.directory
    if expected is None or found is None or is_in(info, expected):
        return
    raise SessionMovedError(
        f"session {info.id} of {record} lives in {found}, and the record says {expected}: the server "
        "moved it, or the record was changed. Let opencode_directory say where it lives, or delete() it: the next "
        "ensure() makes one there",
        record=record,
        session_id=info.id,
        expected=expected,
        found=found,
    )


@lru_cache(maxsize=1024)
def _warn_of(rules: tuple[Rule, ...]) -> None:
    for said in review_rules(rules):
        _log.warning("Permission rules: %s", said)


def _check_guarded(session_id: str, found: Sequence[Rule], rules: Sequence[Rule]) -> None:
    """Check that the server has the whole list of rules. Another caller's list may come before or after it."""
    starts = range(len(found) - len(rules) + 1)
    if not any(tuple(found[start : start + len(rules)]) == tuple(rules) for start in starts):
        raise NotGuardedError(
            f"the server took {len(rules)} rules for session {session_id}, and shows {len(found)} that do not "
            "contain them: nobody may prompt it. Is that a release that this library was tested with? See "
            "docs/versions.md",
            session_id=session_id,
        )


def _outdated(found: Sequence[Rule], rules: Sequence[Rule]) -> list[Rule]:
    """The rules in force that still allow something that the record no longer allows."""
    return [
        rule
        for index, rule in enumerate(found)
        if rule.action == "allow"
        and rule not in rules
        and not any(_covers(later, rule) for later in found[index + 1 :])
    ]


def _covers(later: Rule, rule: Rule) -> bool:
    return later.permission in ("*", rule.permission) and later.pattern in ("*", rule.pattern)


def has_title(record: object) -> bool:
    """Does a record, or a model, have a title for its sessions?"""
    return any(hasattr(record, name) for name in _TITLES)


def _title_of(record: object) -> str:
    """The record's `opencode_title`, else its `title`, in the form in which the server stores it.

    A byte order mark at the beginning is removed, because the server does the same (1.18.33), and its title is
    compared.

    Raises:
        ConfigurationError: The attribute is a function.
    """
    for name in _TITLES:
        title = not_awaitable(name, getattr(record, name, _ABSENT))
        if title is not _ABSENT:
            require(
                not callable(title), f"{type(record).__name__}.{name} must be a text or a property", title
            )
            return "" if title is None else storable(str(title)).lstrip("\ufeff")
    _warn_of_no_title(type(record).__name__)
    return ""


@lru_cache(maxsize=1024)
def _warn_of_no_title(name: str) -> None:
    _log_of_sessions.warning("%s has no title, so its sessions have none. %s", name, TITLE_HINT.format(name))
