"""How a row is named in errors, logs and claims: by its table and primary key, `conversations:42`, and read back.

Of a key of several values, `seats:12,A`, the texts have `%2C` for a comma and `%25` for a percent sign; of one value
the text stands as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

__all__ = ["key_of", "text_of", "values_in", "values_of"]


def key_of(table: str, values: Iterable[object]) -> str:
    """What names the row with this primary key, of one value or several."""
    return f"{table}:{text_of(values)}"


def text_of(values: Iterable[object]) -> str:
    """A primary key, of one value or several, as text."""
    texts = [str(value) for value in values]
    if len(texts) > 1:
        texts = [text.replace("%", "%25").replace(",", "%2C") for text in texts]
    return ",".join(texts)


def values_in(key: str, table: str, like: Sequence[object]) -> tuple[object, ...] | None:
    """The primary key of a row of this table that a key names, or None if it names none.

    Args:
        key: As `key_of` made it.
        table: Whose row it is to be.
        like: The primary key of another row of that table, whose types the values have.
    """
    if not key.startswith(f"{table}:"):
        return None
    return values_of(key[len(table) + 1 :], [type(one) for one in like])


def values_of(text: str, kinds: Sequence[Callable[[str], object]]) -> tuple[object, ...] | None:
    """The primary key that a text says, or None if it says none.

    Args:
        text: As `text_of` made it.
        kinds: What makes each value of its text.
    """
    texts = [text]
    if len(kinds) > 1:
        texts = [each.replace("%2C", ",").replace("%25", "%") for each in text.split(",")]
    if len(texts) != len(kinds):
        return None
    try:
        values = tuple(kind(each) for kind, each in zip(kinds, texts, strict=True))
    except Exception:  # noqa: BLE001 - whatever a type of the host's raises over a text that it did not write
        return None
    return values if text_of(values) == text else None
