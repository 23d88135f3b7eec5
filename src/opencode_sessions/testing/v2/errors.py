"""The errors that the contract declares: a status, and a body with the name of the error in `_tag`."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

__all__ = [
    "ApiError",
    "already_settled",
    "conflict",
    "form_not_found",
    "invalid_answer",
    "invalid_cursor",
    "invalid_request",
    "message_not_found",
    "permission_not_found",
    "saved_not_found",
    "session_busy",
    "session_not_found",
]


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: The HTTP status.
        body: The body; None for an answer without one.
        headers: Headers beside those of every answer.
    """

    def __init__(
        self, status: int, body: Mapping[str, Any] | None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = headers


def _error(status: HTTPStatus, tag: str, message: str, **fields: Any) -> ApiError:
    given = {name: value for name, value in fields.items() if value is not None}
    return ApiError(status, {"_tag": tag, **given, "message": message})


def invalid_request(message: str, *, kind: str, field: str | None = None) -> ApiError:
    """A request that the contract does not allow."""
    return _error(HTTPStatus.BAD_REQUEST, "InvalidRequestError", message, kind=kind, field=field)


def invalid_cursor(message: str = "Invalid cursor") -> ApiError:
    """A cursor that was not given out by this route."""
    return _error(HTTPStatus.BAD_REQUEST, "InvalidCursorError", message)


def session_not_found(session_id: str) -> ApiError:
    """No such session."""
    message = f"Session not found: {session_id}"
    return _error(HTTPStatus.NOT_FOUND, "SessionNotFoundError", message, sessionID=session_id)


def message_not_found(session_id: str, message_id: str) -> ApiError:
    """No such message in the session."""
    return _error(
        HTTPStatus.NOT_FOUND,
        "MessageNotFoundError",
        f"Message not found: {message_id}",
        sessionID=session_id,
        messageID=message_id,
    )


def session_busy(session_id: str) -> ApiError:
    """The session is being worked on."""
    message = f"Session is busy: {session_id}"
    return _error(HTTPStatus.CONFLICT, "SessionBusyError", message, sessionID=session_id)


def permission_not_found(request_id: str) -> ApiError:
    """No such permission request is pending."""
    message = f"Permission request not found: {request_id}"
    return _error(HTTPStatus.NOT_FOUND, "PermissionNotFoundError", message, requestID=request_id)


def saved_not_found(saved_id: str) -> ApiError:
    """No such saved permission."""
    message = f"Saved permission not found: {saved_id}"
    return _error(HTTPStatus.NOT_FOUND, "PermissionSavedNotFoundError", message, id=saved_id)


def form_not_found(form_id: str) -> ApiError:
    """No such form in the session."""
    return _error(HTTPStatus.NOT_FOUND, "FormNotFoundError", f"Form not found: {form_id}", id=form_id)


def already_settled(form_id: str) -> ApiError:
    """The form was answered or cancelled before."""
    message = f"Form already settled: {form_id}"
    return _error(HTTPStatus.CONFLICT, "FormAlreadySettledError", message, id=form_id)


def invalid_answer(form_id: str, message: str) -> ApiError:
    """The answer does not fit the form's fields."""
    return _error(HTTPStatus.BAD_REQUEST, "FormInvalidAnswerError", message, id=form_id)


def conflict(message: str, *, resource: str | None = None) -> ApiError:
    """What is asked for contradicts what is stored."""
    return _error(HTTPStatus.CONFLICT, "ConflictError", message, resource=resource)
