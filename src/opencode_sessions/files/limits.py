"""The limits for the files that are kept of a turn."""

from __future__ import annotations

from dataclasses import dataclass, fields

from opencode_sessions.validation import require

__all__ = ["FileLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLimits:
    """The number and size of the files that are kept of a turn. All others are listed as skipped.

    Attributes:
        number: How many files are kept; those that the agent's tools name come first.
        each: How many bytes a file may have.
        together: How many bytes the files of a turn may have together.
        depth: How many folders deep a file may be.
        looked_at: How many files are checked for changes.
        told: How many skipped files are listed by name; the others are counted.

    Raises:
        ConfigurationError: One of them is not a whole number above 0.
    """

    number: int = 200
    each: int = 50 * 1024 * 1024
    together: int = 500 * 1024 * 1024
    depth: int = 32
    looked_at: int = 200_000
    told: int = 100

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            require(
                isinstance(value, int) and value > 0, f"{each.name} must be a whole number above 0", value
            )
