"""A browser without a screen: it keeps cookies, sends the forms of a page, and follows the events of a turn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Self
from urllib.parse import urljoin

import httpx2

from opencode_sessions.protocol.sse import SSEDecoder

__all__ = ["Browser", "Form", "Page"]


@dataclass(slots=True)
class Form:
    """A form of a page: where it goes, and what it sends unless it is told otherwise."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class Page(HTMLParser):
    """What is on a page: its forms, and the turns that it follows."""

    def __init__(self, url: str, html: str) -> None:
        super().__init__()
        self.url = url
        self.html = html
        self.forms: list[Form] = []
        self.turns: list[dict[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", self.url)))
        elif tag in ("input", "textarea") and self.forms and "name" in given:
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        elif tag == "button" and self.forms and "name" in given:
            self.forms[-1].buttons.append((given["name"], given.get("value", "")))
        elif tag == "opencode-turn":
            self.turns.append(given)

    def form(self, ending: str) -> Form:
        """The first form whose address ends so.

        Raises:
            LookupError: There is none.
        """
        for form in self.forms:
            if form.action.endswith(ending):
                return form
        raise LookupError(f"no form on {self.url} is sent to …{ending}")


class Browser:
    """One visitor of the chat.

    Args:
        address: Of the chat.
    """

    def __init__(self, address: str) -> None:
        self._client = httpx2.Client(base_url=address, follow_redirects=True, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def status(self, path: str) -> int:
        """What a look at this page gives, redirects not followed."""
        return self._client.get(path, follow_redirects=False).status_code

    def get(self, path: str) -> Page:
        """Look at a page.

        Raises:
            httpx2.HTTPError: It cannot be had.
        """
        return self._page(self._client.get(path))

    def send(self, form: Form, **fields: str) -> Page:
        """Send a form, as a page without scripts does; what the way leads to comes back."""
        headers = {"Accept": "text/html", "Origin": str(self._client.base_url).rstrip("/")}
        return self._page(self._client.post(form.action, data={**form.fields, **fields}, headers=headers))

    def follow(self, turn: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events of a turn, each with its name, until the server says that it has ended."""
        last = ""
        while True:  # a stream has its time, and then the next one goes on
            headers = {"Last-Event-ID": last} if last else {}
            with self._client.stream("GET", turn["src"], timeout=60, headers=headers) as answer:
                answer.raise_for_status()
                decoder = SSEDecoder()
                for chunk in answer.iter_bytes():
                    for event in decoder.feed(chunk):
                        yield event.event, json.loads(event.data)
                        if event.event == "end":
                            return
                last = decoder.last_event_id or last

    def _page(self, answer: httpx2.Response) -> Page:
        answer.raise_for_status()
        url = str(answer.url)
        page = Page(url, answer.text)
        for form in page.forms:
            form.action = urljoin(url, form.action)
        return page
