"""The budget for rendering a text as Markdown.

The text comes from a model or a tool, and may be designed to be slow. Beyond the budget it is shown as plain text. A
step is one search for a block, or for markup in a line, and takes up to 10 µs. Ordinary documents take 0.05 to 0.15
steps a character; tables of numbers 0.5.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = ["LONGEST_LINK", "MOST_CHARACTERS", "NESTING", "Budget", "OverBudget", "hold_to_budget"]

MOST_CHARACTERS = 200_000

MOST_STEPS = 60_000

MOST_SECONDS = 5.0
"""Processor time, for costs that steps do not count, such as a slow pattern in another release of the parser."""

LONGEST_LINK = 2_000
"""The longest bare address, in characters. The parser may search it once for each possible beginning."""

_DEEPEST = 30
"""The most levels of nested quotes and lists; a list takes two."""

NESTING = _DEEPEST + 10
"""The parser's own limit. It drops deeper levels, so the budget must be used up before."""

_LOOK_AT_CLOCK = 1_000
_STEPS_OF_LINK = 20
_CHARACTERS_A_STEP = 50
_ATTRIBUTES = 10
"""Characters of links' addresses and titles for each character of the text, plus a thousand times as many."""


class OverBudget(Exception):  # noqa: N818 - nothing is wrong: the text is shown otherwise
    """Rendering the text exceeds its budget."""


class Budget:
    """The remaining budget of one text."""

    def __init__(self) -> None:
        self.steps = 0
        self._look_at = _LOOK_AT_CLOCK
        self._until = time.thread_time() + MOST_SECONDS

    def spend(self, steps: int = 1, made: int = 0) -> None:
        """Count steps, and the tokens that were `made` so far.

        Raises:
            OverBudget: The budget is used up.
        """
        self.steps += steps
        if self.steps + made > MOST_STEPS:
            raise OverBudget
        if self.steps >= self._look_at:
            self._look_at = self.steps + _LOOK_AT_CLOCK
            if time.thread_time() > self._until:
                raise OverBudget


def hold_to_budget(markdown: MarkdownIt) -> None:
    """Make the parser use the budget in its `env` under `budget`."""
    markdown.options["maxNesting"] = NESTING
    interrupting = ["paragraph", "reference", "blockquote", "list"]
    markdown.block.ruler.before("table", "budget", _at_block, {"alt": interrupting})
    markdown.inline.ruler.after("text", "budget", _at_piece)
    markdown.core.ruler.after("block", "budget_of_blocks", _after_blocks)
    markdown.core.ruler.push("budget_of_links", _after_all)


def _at_block(state: Any, _first: int, _last: int, _silent: bool) -> bool:  # noqa: FBT001 - a rule's signature
    if state.level > _DEEPEST:
        raise OverBudget
    # One line of a table can produce as many tokens as the table has columns.
    state.env["budget"].spend(made=len(state.tokens))
    return False


def _at_piece(state: Any, _silent: bool) -> bool:  # noqa: FBT001 - a rule's signature
    budget: Budget = state.env["budget"]
    budget.spend()
    if state.src.startswith("://", state.pos):
        budget.spend(
            _STEPS_OF_LINK + len(state.pending) // _CHARACTERS_A_STEP
        )  # the parser searches it for a scheme
    return False


def _after_blocks(state: Any) -> None:
    state.env["budget"].spend(len(state.tokens))


def _after_all(state: Any) -> None:
    """Count the characters of links, because any number of links can use one definition."""
    links = (child for token in state.tokens for child in token.children or ())
    length = sum(len(str(value)) for link in links for value in link.attrs.values())
    if length > _ATTRIBUTES * (len(state.src) + 1_000):
        raise OverBudget
