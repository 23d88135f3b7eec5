"""What somebody buys, and what it comes to."""

from dataclasses import dataclass


@dataclass
class Line:
    item: str
    price: float
    count: int = 1


def total(lines):
    """The price of all lines together, to the cent."""
    return round(sum(line.price for line in lines), 2)
