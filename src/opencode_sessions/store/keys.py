"""How a row is named in errors, logs and claims: by its table and primary key, `conversations:42`, and read back.

Of a key of several values, `seats:12,A`, the texts have `%2C` for a comma and `%25` for a percent sign; of one value
the text stands as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["key_of", "values_in"]


def key_of(table: str, values: Iterable[object]) -> str:
    """What names the row with this primary key, of one value or several."""
    texts = [str(value) for value in values]
    if len(texts) > 1:
        texts = [text.replace("%", "%25").replace(",", "%2C") for text in texts]
    return f"{table}:{','.join(texts)}"


def values_in(key: str, table: str, like: Sequence[object]) -> tuple[object, ...] | None:
    """The primary key of a row of this table that a key names, or None if it names none.

    Args:
        key: As `key_of` made it.
        table: Whose row it is to be.
        like: The primary key of another row of that table, whose types the values have.
    """
    name, texts = key[: len(table) + 1], [key[len(table) + 1 :]]
    if len(like) > 1:
        texts = [text.replace("%2C", ",").replace("%25", "%") for text in texts[0].split(",")]
    if name != f"{table}:" or len(texts) != len(like):
        return None
    try:
        values = tuple(_made(type(one), text) for one, text in zip(like, texts, strict=True))
    except Exception:  # noqa: BLE001 - whatever a type of the host's raises over a text that it did not write
        return None
    return values if key_of(table, values) == key else None


def _made(kind: type, text: str) -> object:
    return kind(text)
