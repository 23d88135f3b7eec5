"""The mixins that give a model its columns and a store.

They work with plain declarative models and with `MappedAsDataclass`. In a dataclass their columns are not fields of its
`__init__`, because the library writes them. Declare a column that your `__init__` should accept, such as `prompt`, once
more in your model. SQLModel works the same way, and refuses a model without its own `prompt`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from sqlalchemy import JSON, Boolean, DateTime, Double, Enum, Integer, String, Text, event
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped, Mapper, mapped_column

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.files.uploads import Upload
from opencode_sessions.sqlalchemy.messages import SQLAlchemyMessageStore
from opencode_sessions.sqlalchemy.records import SQLAlchemyRecordStore
from opencode_sessions.sqlalchemy.uids import keep_uids_of
from opencode_sessions.store.messages import TurnStatus
from opencode_sessions.store.origin import new_trace
from opencode_sessions.store.record_columns import new_uid

__all__ = ["MessageMixin", "RecordMixin"]

_MYSQL = ("mysql", "mariadb")

# On these databases, only these types hold more than 64 KB, or fractions of a second.
_TEXT = Text().with_variant(mysql.LONGTEXT(), *_MYSQL)
_TIME = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), *_MYSQL)

# A mixin's annotated columns would have to be fields of a dataclass host, which only a dataclass may give.
# So they carry no annotations, and `cast` tells the type checker what they are.


class RecordMixin:
    """The six columns of a record: a row that owns one OpenCode session.

    If a connection must be prepared before it reaches your rows (`SET LOCAL search_path`, say), give the model or its
    base a static method `opencode_prepare_connection(connection, info)`. It is called with each connection that the
    library opens, within the transaction, and with the `info` of the ORM session to which your row is attached. The
    same holds for messages.

    The session gets the record's `title`. If the model has none, define a property `opencode_title`.

    Attributes:
        opencode_uid: Tells the row from rows with the same key in other schemas and databases.
        opencode_session_id: The session's id; None before there is one.
        opencode_session_ready_at: When the session's rules came into force; None before that.
        opencode_session_digest: A digest of the title, rules and directory in force; `deleting` while the session is
            being deleted.
        opencode_turn: The record's lock: the turn that runs in the session, and when its lock expires.
        opencode_server: The name of the session's server; None if there was never more than one.
    """

    opencode_uid = cast("Mapped[str | None]", mapped_column(String(32), default=new_uid))
    opencode_session_id = cast("Mapped[str | None]", mapped_column(String(64), unique=True))
    opencode_session_ready_at = cast("Mapped[datetime | None]", mapped_column(_TIME))
    opencode_session_digest = cast("Mapped[str | None]", mapped_column(String(64)))
    opencode_turn = cast("Mapped[str | None]", mapped_column(Text()))
    opencode_server = cast("Mapped[str | None]", mapped_column(String(64)))

    def __opencode_store__(self, *, asynchronous: bool) -> SQLAlchemyRecordStore:
        return SQLAlchemyRecordStore.attached(self, asynchronous=asynchronous)


class MessageMixin:
    """The columns of a message: a row that stores one prompt and its answer.

    For a `SQLAlchemyTurnTable`, a message needs a relationship or a foreign key to its record. If it has several, name
    the right one: `opencode_record = "conversation"`.

    Attributes:
        opencode_uid: As in a record.
        prompt: The prompt: set it before the turn.
        opencode_uploads: The files sent with it, as `Uploads.save` returns them: set it before the turn.
        status: A `TurnStatus`, from `pending` on.
        opencode_prompt_id: The id of the prompt in the session, from the start of the turn on.
        opencode_prompt_session_id: That session.
        opencode_turn_epoch: Raised by each runner that starts the turn, and by a cancel.
        opencode_turn_lease: When the lease of its runner or queue expires.
        opencode_turn_order: Its place among the turns of its record, from 1 on; 0 until it is reserved
            (`SQLAlchemyTurnTable.reserve`).
        opencode_turn_parked: Whether the turn waits, without a runner: for a person, or before its begin for a limit.
        content: The answer's text.
        parts: The answer's parts, in order.
        asks: Permissions and questions that wait for a person.
        error: Why the turn did not complete; None if it did.
        cost: US dollars, by the server's prices.
        input_tokens: Tokens that the model read.
        output_tokens: Tokens that the model wrote.
        revision: Raised by every write of the answer.
        opencode_trace: The span in which the message was made, as a W3C `traceparent`; None without one.
        enqueued_at: When the turn was enqueued.
        started_at: When the turn was first started.
        finished_at: When its end was stored.
    """

    opencode_uid = cast("Mapped[str | None]", mapped_column(String(32), default=new_uid))
    prompt = cast("Mapped[str]", mapped_column(_TEXT, nullable=False))
    opencode_uploads = cast("Mapped[list[Upload]]", mapped_column(JSON(), default=list, nullable=False))
    status = cast(
        "Mapped[str]",
        mapped_column(
            # A string with a table constraint, as MariaDB accepts no name for a column constraint.
            Enum(
                *(status.value for status in TurnStatus),
                name="opencode_turn_status",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            default=TurnStatus.PENDING.value,
            index=True,
            nullable=False,
        ),
    )
    opencode_prompt_id = cast("Mapped[str | None]", mapped_column(String(64), unique=True))
    opencode_prompt_session_id = cast("Mapped[str | None]", mapped_column(String(64)))
    opencode_turn_epoch = cast("Mapped[int]", mapped_column(Integer(), default=0, nullable=False))
    opencode_turn_lease = cast("Mapped[datetime | None]", mapped_column(_TIME))
    opencode_turn_order = cast("Mapped[int]", mapped_column(Integer(), default=0, nullable=False))
    opencode_turn_parked = cast("Mapped[bool]", mapped_column(Boolean(), default=False, nullable=False))
    content = cast("Mapped[str]", mapped_column(_TEXT, default="", nullable=False))
    parts = cast("Mapped[list[dict[str, Any]]]", mapped_column(JSON(), default=list, nullable=False))
    asks = cast("Mapped[list[dict[str, Any]]]", mapped_column(JSON(), default=list, nullable=False))
    error = cast("Mapped[dict[str, Any] | None]", mapped_column(JSON(none_as_null=True)))
    cost = cast("Mapped[float]", mapped_column(Double(), default=0.0, nullable=False))
    input_tokens = cast("Mapped[int]", mapped_column(Integer(), default=0, nullable=False))
    output_tokens = cast("Mapped[int]", mapped_column(Integer(), default=0, nullable=False))
    revision = cast("Mapped[int]", mapped_column(Integer(), default=0, nullable=False))
    opencode_trace = cast("Mapped[str | None]", mapped_column(String(55), default=new_trace))
    enqueued_at = cast("Mapped[datetime | None]", mapped_column(_TIME))
    started_at = cast("Mapped[datetime | None]", mapped_column(_TIME))
    finished_at = cast("Mapped[datetime | None]", mapped_column(_TIME))

    def __opencode_store__(self, *, asynchronous: bool) -> SQLAlchemyMessageStore:
        return SQLAlchemyMessageStore.attached(self, asynchronous=asynchronous)


@event.listens_for(MessageMixin, "instrument_class", propagate=True)
def _require_prompt(_mapper: Mapper[Any], model: type[Any]) -> None:
    """Require a `prompt` field: a pydantic class silently drops arguments without one, and so the prompt."""
    if "prompt" not in getattr(model, "model_fields", {"prompt"}):
        raise ConfigurationError(
            f"{model.__name__} is a class of SQLModel's, whose __init__ drops what is no field of it: declare the "
            f"prompt in {model.__name__} once more, as prompt: str = Field(sa_type=Text), with Text of sqlalchemy"
        )


for _mixin in (RecordMixin, MessageMixin):
    keep_uids_of(_mixin)
