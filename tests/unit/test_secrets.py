"""No password is printed: not one that was written into a URL, and not one that a server sends back."""

from __future__ import annotations

import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.wire.address import Address, server_url

ODD = "\"&<>'\\/+% \n\x1b\u00e9\U0001f600"
PASSWORDS = st.text(
    st.sampled_from(ODD) | st.characters(exclude_categories=["Cs"], exclude_characters="*"),
    min_size=1,
    max_size=20,
)
ANYTHING = st.text(max_size=20)

SHAPES = [
    "admin:{}@host",
    "http://admin:{}@host",
    "https://admin:{}@host:4096/path",
    "http://{}@host",
    "//admin:{}@host",
    "http:admin:{}@host",
    "http:/admin:{}@host",
    "http://admin:p@ss{}/w@host:4096",
    "admin:p@ss/{}@host:4096",
    "http://admin:{}@[::1",
    "http://admin:{}@host:99999",
    "http://admin:{}@host:abc",
    "http://host?password={}",
    "http://host/?password={}",
    "http://host/#{}",
    "http://ad\u2100min:{}@host",
    "http://admin:{}@h\0st",
    "ftp://admin:{}@host",
    "http://admin:12/{}@host",
    "admin:{}",
]

URLS_WITHOUT_A_SECRET = ["a@b", "http://a?b", "a", "http://"]


def complaint(url):
    """What is said of a URL; None if it is taken."""
    try:
        server_url(url)
    except ConfigurationError as error:
        return str(error) if error.__context__ is None else repr(error.__context__)  # which tracebacks show


COMPLAINTS = {complaint(url) for url in URLS_WITHOUT_A_SECRET}


@given(shape=st.sampled_from(SHAPES), password=PASSWORDS)
def test_what_is_said_of_a_url_repeats_no_part_of_it(shape, password):
    assert complaint(shape.format(password)) in COMPLAINTS


@given(ANYTHING, ANYTHING)
def test_a_url_is_refused_by_one_error_or_taken(start, end):
    for url in (start, f"http://{start}", f"http://host:{start}", f"http://host{start}/{end}"):
        assert complaint(url) in {None, *COMPLAINTS}


MALFORMED = """
http://[::1  http://[::g]  http://host:99999  http://host:0  http://host:abc  http://a\\b  http:///x  http://h/?
"""
GOOD = """
http://host  https://host:1/a/b  http://[::1]:4096  http://[fe80::1%25eth0]:4096  http://10.0.0.1:65535
http://b\u00fccher.example  HTTP://Host
"""


@pytest.mark.parametrize(
    "url",
    [*MALFORMED.split(), "http://a b", "http://a\nb", "http://h\0st", "http://h/\x9b31m", "http://\udcff"],
)
def test_a_malformed_url_is_refused(url):
    assert complaint(url) in COMPLAINTS


@pytest.mark.parametrize("url", GOOD.split())
def test_a_good_url_is_taken(url):
    assert server_url(f" {url}/\n") == url


@pytest.mark.parametrize("variable", ["OPENCODE_SERVER_PASSWORD", "OPENCODE_SERVER_USERNAME"])
def test_credentials_that_are_no_text_are_refused(monkeypatch, variable):
    monkeypatch.setenv("OPENCODE_SERVER_PASSWORD", "pw")
    monkeypatch.setenv(variable, "hunter2\udcff")
    with pytest.raises(ConfigurationError, match="not valid UTF-8") as caught:
        Address.resolve()
    assert "hunter2" not in str(caught.value)


SPELLINGS = {
    "as it is": str,
    "in a URL": lambda text: quote(text, safe=""),
    "in a path": quote,
    "in a form": quote_plus,
    "in JSON": lambda text: json.dumps(text)[1:-1],
    "in JSON as UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "in JSON by PHP": lambda text: json.dumps(text)[1:-1].replace("/", r"\/"),
    "in HTML": html.escape,
    "in Python": lambda text: repr(text)[1:-1],
    "in Python's bytes": lambda text: repr(text.encode())[2:-1],
    "as Latin-1": lambda text: text.encode().decode("latin-1"),
}


@given(
    password=PASSWORDS,
    spelled=st.sampled_from(list(SPELLINGS.values())),
    before=st.text(max_size=10),
    after=st.text(max_size=10),
)
def test_a_quotation_holds_no_credentials_in_whichever_spelling(password, spelled, before, after):
    address = Address("http://host", "opencode", password)
    token = address.headers()["authorization"].removeprefix("Basic ")
    for secret in (password, token):
        said = before + spelled(secret) + after
        quoted = address.quote(said)
        assert spelled(secret) not in quoted
        assert secret not in quoted


@pytest.mark.parametrize("place", range(1980, 2010))
@pytest.mark.parametrize("more", ["", "x" * 10_000, "hunter2/" * 10_000])
def test_a_quotation_is_not_cut_within_a_secret(place, more):
    address = Address("http://host", "opencode", "hunter2/hunter2")
    quoted = address.quote("x" * place + "hunter2/hunter2" + more)
    assert quoted.strip("x") in ("", "*", "**", "***")
    assert len(quoted) <= 2000
    assert len(quoted) > 1900 or more.startswith("hunter2")


def test_a_quotation_of_bytes_is_their_text():
    assert Address("http://host", "opencode", "pw").quote("g\u00fcn\xff".encode()) == "g\u00fcn\xff"
    assert Address("http://host", "opencode", "pw").quote(b"\xff pw") == "\ufffd ***"
    assert len(Address("http://host", "opencode", None).quote(b"x" * 10_000)) == 2000


@pytest.mark.parametrize("character", "a" + ODD)
def test_a_quotation_takes_no_time_where_a_secret_nearly_stands(character):
    address = Address("http://host", "opencode", character * 40 + "!")
    for spelled in SPELLINGS.values():
        assert address.quote(spelled(character * 100))
