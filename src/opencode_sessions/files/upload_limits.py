"""The limits for the files that people upload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from opencode_sessions.texts import number, text

__all__ = ["OFFICE", "UploadLimits", "megabytes"]

OFFICE = ("application/vnd.openxmlformats-officedocument.*", "application/vnd.oasis.opendocument.*")
_TYPES = ("text/*", "image/*", "application/pdf", "application/json", "application/xml", "application/yaml")
_ARCHIVES = ("application/zip", "application/gzip", "application/x-tar")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """The limits for the files of one message, and of its record.

    Attributes:
        number: How many files.
        each: How many bytes one file may have.
        together: How many bytes they may have together.
        types: Patterns of media types, such as `image/*`. The content determines a file's type.
        in_record: How many files all messages of a record may have; None: any number.
        bytes_in_record: How many bytes these may have together; None: any number.
        inline: How many bytes they may have together in a JSON request of a chat protocol, which is read into memory.
    """

    number: int = 10
    each: int = 25_000_000
    together: int = 100_000_000
    types: Sequence[str] = (*_TYPES, *_ARCHIVES, *OFFICE)
    in_record: int | None = 1_000
    bytes_in_record: int | None = 1_000_000_000
    inline: int = 20_000_000

    def too_many(self, count: int) -> str:
        """The text of an error for this many files."""
        return text(
            "These are {count} files; {most} are the most that go with one message.",
            count=count,
            most=self.number,
        )


def megabytes(size: int) -> str:
    """The size in megabytes, with three digits, for people."""
    megabytes = size / 1_000_000
    exponent = int(Decimal(f"{megabytes:.3g}").normalize().as_tuple().exponent)
    return text("{size} MB", size=number(megabytes, max(-exponent, 0)))
