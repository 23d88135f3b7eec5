"""What a person decides on: nothing of it is lost, and nothing of it is out of sight."""

from __future__ import annotations

import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_sessions.protocol.visible import blank_lines, pieces, reveal, visible, visible_line

HIDERS = (
    "\n\t\r \x00\x07\x1b\x7f\x9b\xa0\xad\u034f\u061c\u115f\u200b\u200d\u2028\u202e\u2066\u2800\u3000\u3164"
)
HIDERS += "\ufe0f\ufeff\ud800\udfff\ue000\ufff9\uffff\U000e0041\U000e0101\U0010ffff\u0301\u20dd"
ODD = st.sampled_from(
    [*HIDERS, "‹", "›", "\\", "x1b›", "9 spaces›", "9 blank lines›", "‹\\u202e›", "‹9 × \\n›"]
)
RUNS = st.builds(lambda text, count: text * count, ODD | st.characters(), st.integers(1, 80))
TEXTS = st.lists(RUNS | st.text(st.characters(categories=None), max_size=9), max_size=12).map("".join)


def is_hidden(character):
    return (
        unicodedata.category(character)[0] == "C" or character in "\u2028\u2029\u3164\u115f\u2800\ufe0f\u034f"
    )


@given(TEXTS)
def test_a_text_is_shown_whole_and_visibly(text):
    shown = visible(text)
    assert reveal(shown) == text
    assert not [each for each in shown if is_hidden(each) and each not in "\n\t"]
    assert "\n" * 11 not in shown
    assert " " * 65 not in shown
    assert "".join(piece for piece, _ in pieces(shown)) == shown


@given(TEXTS)
def test_a_line_is_shown_whole_and_visibly(text):
    shown = visible_line(text)
    assert reveal(shown) == text
    assert not [each for each in shown if is_hidden(each)]
    assert shown == shown.strip(" ")


@given(TEXTS)
def test_what_is_no_mark_stands_as_it_is_and_what_is_one_is_told(text):
    for show in (visible, visible_line):
        plain = "".join(piece for piece, is_mark in pieces(show(text)) if not is_mark)
        remaining = iter(text)
        assert all(each in remaining for each in plain if each != "\n")


@given(TEXTS, TEXTS)
def test_two_texts_are_never_shown_alike(one, other):
    for show in (visible, visible_line):
        assert (show(one) == show(other)) == (one == other)


@pytest.mark.parametrize(
    ("text", "shown", "line"),
    [
        ("ls -l", "ls -l", "ls -l"),
        ("naïve žluťoučký 木 שלום 🐎", "naïve žluťoučký 木 שלום 🐎", "naïve žluťoučký 木 שלום 🐎"),
        ("a\n\tb", "a\n\tb", "a‹\\n›‹\\t›b"),
        ("a\r\nb", "a‹\\r›\nb", "a‹\\r›‹\\n›b"),
        ("\x1b]0;x", "‹\\x1b›]0;x", "‹\\x1b›]0;x"),
        ("a\u202eb", "a‹\\u202e›b", "a‹\\u202e›b"),
        ("\U000e0041", "‹\\U000e0041›", "‹\\U000e0041›"),
        ("a\u200b\u200b\u200bb", "a‹\\u200b›‹\\u200b›‹\\u200b›b", "a‹\\u200b›‹\\u200b›‹\\u200b›b"),
        ("\u200b" * 9_000, "‹9,000 × \\u200b›", "‹9,000 × \\u200b›"),
        ("a" + " " * 9_000 + "b", "a‹9,000 spaces›b", "a‹9,000 spaces›b"),
        ("a" + "\n" * 9_001 + "b", "a\n‹9,000 blank lines›\nb", "a‹9,001 × \\n›b"),
        ("a" + "\n" * 9 + "b", "a" + "\n" * 9 + "b", "a‹9 × \\n›b"),
        (" a ", " a ", "‹1 space›a‹1 space›"),
        ("‹b› ‹9", "‹b› ‹\\u2039›9", "‹b› ‹\\u2039›9"),
        (r"printf '\x1b[0m'", r"printf '\x1b[0m'", r"printf '\x1b[0m'"),
        ("e" + "\u0301" * 7, "e" + "\u0301" * 4 + "‹\\u0301›" * 3, "e" + "\u0301" * 4 + "‹\\u0301›" * 3),
    ],
)  # fmt: skip
def test_marks_are_these(text, shown, line):
    assert visible(text) == shown
    assert visible_line(text) == line


def test_blanks_in_blank_lines_are_shown_where_these_are_many():
    shown = visible("a\n" + " \n\t\n" * 9 + "b")
    assert shown.split("\n")[1:3] == ["‹1 space›", "‹1 tab›"]
    assert visible("a\n" + "  \n" * 3 + "b") == "a\n" + "  \n" * 3 + "b"


def test_a_line_may_stand_for_many():
    assert blank_lines("‹9,000 blank lines›") == 9_000
    assert blank_lines("x ‹9,000 blank lines›") == blank_lines("") == 0


def test_every_character_is_printable_or_marked():
    text = "".join(map(chr, [*range(0x20000), *range(0xE0000, 0xE0200), sys.maxunicode]))
    assert not [each for each in visible_line(text) if not each.isprintable()]
    assert reveal(visible(text)) == text


@pytest.mark.parametrize(
    "text", [" ", "\n", " \n", "\t \n", "‹", "\u200b\u200c", "a\u0301", "é", "x" * 64 + " " * 64]
)
def test_a_long_text_costs_no_more_than_its_length(text):
    many = text * (100_000 // len(text))
    began = time.thread_time()
    visible(many)
    visible_line(many)
    assert time.thread_time() - began < 1
