"""Keys: the names of rows in errors, logs and locks, made of table and primary key, as in `conversations:42`.

In a key of several values, such as `seats:12,A`, a comma within a value is `%2C` and a percent sign is `%25`. A key of
one value is its plain text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

__all__ = ["key_of", "text_of", "values_in", "values_of"]


def key_of(table: str, values: Iterable[object]) -> str:
    """The key of the row with this primary key, of one value or several."""
    return f"{table}:{text_of(values)}"


def text_of(values: Iterable[object]) -> str:
    """A primary key, of one value or several, as text."""
    texts = [str(value) for value in values]
    if len(texts) > 1:
        texts = [text.replace("%", "%25").replace(",", "%2C") for text in texts]
    return ",".join(texts)


def values_in(key: str, table: str, like: Sequence[object]) -> tuple[object, ...] | None:
    """The primary key in a key; None if the key is not of this table.

    Args:
        key: A result of `key_of`.
        table: The table.
        like: The primary key of another row of the table, which gives the types of the values.
    """
    if not key.startswith(f"{table}:"):
        return None
    return values_of(key[len(table) + 1 :], [type(one) for one in like])


def values_of(text: str, kinds: Sequence[Callable[[str], object]]) -> tuple[object, ...] | None:
    """The primary key in a text; None if the text is not one.

    Args:
        text: A result of `text_of`.
        kinds: Converts each value from its text.
    """
    texts = [text]
    if len(kinds) > 1:
        texts = [each.replace("%2C", ",").replace("%25", "%") for each in text.split(",")]
    if len(texts) != len(kinds):
        return None
    try:
        values = tuple(kind(each) for kind, each in zip(kinds, texts, strict=True))
    except Exception:  # noqa: BLE001 - a type of the host's may raise anything for a foreign text
        return None
    return values if text_of(values) == text else None
