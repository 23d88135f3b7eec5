"""Texts: what is looked up, that all of it is in the catalogues, and that nothing else is shown."""

from __future__ import annotations

import gettext
import importlib.util
import io
import json
import re
import threading
from pathlib import Path

import pytest

from opencode_sessions import texts
from opencode_sessions.display import display, display_ask, display_error
from opencode_sessions.display.errors import _KNOWN
from opencode_sessions.display.tools.registry import TOOLS
from opencode_sessions.texts.catalogues import Catalogues

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "opencode_sessions"
CHAT = ROOT / "examples" / "chat" / "chat"
FASTAPI = ROOT / "examples" / "fastapi-chat"

_spec = importlib.util.spec_from_file_location("texts_tool", ROOT / "tools" / "texts.py")
tool = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tool)

CATALOGUES = sorted([*SOURCE.rglob("django.po"), *CHAT.rglob("django.po")])
TEMPLATES = sorted([*SOURCE.rglob("*.html"), *CHAT.rglob("*.html")])
SCRIPTS = sorted([*(SOURCE / "django").rglob("*.js"), *CHAT.rglob("*.js")])


def places(text):
    return sorted(re.findall(r"\{\w+\}|%\(\w+\)s|<\w+[^>]*>", text))


class Marked:
    """A language in which each text has marks around it: what has none was not looked up."""

    language = "xx"

    def find(self, _context, message):
        return message if message == "1,234.5" else f"⟦{message}⟧"

    def find_plural(self, _context, one, many, count):
        return f"⟦{one if count == 1 else many}⟧"


@pytest.fixture(autouse=True)
def without_django():
    """A test of Django in this process has its texts come from there."""
    before = texts._source
    texts.use(texts.CATALOGUES)
    yield
    texts.use(before)


@pytest.fixture
def german(without_django):
    with texts.speaking("de"):
        yield


@pytest.fixture
def marked(without_django):
    texts.use(Marked())


# -- the catalogues


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_catalogue_translates_each_text_with_all_its_places(path):
    _, entries = tool.read(path)
    assert entries
    for message, found in entries.items():
        assert all(found), f"{message.one} has no translation: run make texts, and translate it"
        forms = [message.one, message.many] if message.many else [message.one]
        for form, translated in zip(forms, found, strict=True):
            assert places(form) == places(translated), message.one


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_compiled_catalogue_is_what_its_source_says(path):
    compiled = path.with_suffix(".mo").read_bytes()
    assert compiled == tool.compiled(path), "run make texts"
    assert gettext.GNUTranslations(io.BytesIO(compiled))  # the standard library reads it


def test_the_catalogue_has_the_texts_of_the_source_and_no_others():
    _, entries = tool.read(SOURCE / "django/locale/de/LC_MESSAGES/django.po")
    assert set(entries) == set(tool.texts()), "run make texts"


def test_the_chat_s_catalogue_has_all_of_its_texts():
    _, entries = tool.read(CHAT / "locale/de/LC_MESSAGES/django.po")
    wanted = set()
    for path in CHAT.rglob("*.py"):
        wanted |= {*re.findall(r'gettext(?:_lazy|_noop)?\(\s*"([^"]*)"', path.read_text())}
    for path in CHAT.rglob("*.html"):
        source = path.read_text()
        wanted |= {*re.findall(r'{% translate "([^"]*)"', source)}
        blocks = re.findall(r"{% blocktranslate[^%]*%}(.*?){% endblocktranslate %}", source)
        wanted |= {re.sub(r"{{ (\w+) }}", r"%(\1)s", each) for each in blocks}
    assert wanted == {message.one for message in entries}


def test_each_text_of_the_fastapi_page_is_in_its_table():
    page = (FASTAPI / "page.html").read_text()
    wanted = {*re.findall(r'\btr\("([^"]*)"', page)}
    wanted |= {*re.findall(r"<[^>]* data-text>([^<]+)<", page)}
    wanted |= {*re.findall(r'aria-label="([^"]*)" data-text="ariaLabel"', page)}
    wanted |= {*re.findall(r'placeholder="([^"]*)" data-text="placeholder"', page)}
    table = json.loads((FASTAPI / "german.json").read_text())
    assert wanted == set(table)
    assert all(places(english) == places(german) for english, german in table.items())


# -- what is not looked up


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_template_has_no_text_that_is_not_looked_up(path):
    source = re.sub(r"{% blocktranslate.*?{% endblocktranslate %}", "", path.read_text())
    source = re.sub(r"{% block kind %}.*?{% endblock %}", "", source)  # the name of a class
    source = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}|<!doctype html>|&\w+;", "", source)
    shown = re.findall(r'\b(?:aria-label|title|placeholder|alt)="([^"]*)"', source)
    shown += re.sub(r"<[^>]*>", "\n", re.sub(r"<(kbd|code)>.*?</\1>", "", source)).split("\n")
    words = {word for each in shown for word in re.findall(r"[A-Za-z]{2,}", each)}
    assert words <= {"Parley"}, f"look it up, with {{% opencode_text %}} or {{% translate %}}: {words}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_has_no_text_that_is_not_looked_up(path):
    lines = [
        line.partition(" // ")[0]
        for line in path.read_text().splitlines()
        if not line.lstrip().startswith("//")
    ]
    said = re.findall(r'(?<!text\()["`]([A-Z][^"`]* [^"`]*|[A-Z][a-z ]+[.…!?])["`]', "\n".join(lines))
    assert said == []


def test_the_page_of_the_fastapi_chat_has_no_text_that_is_not_looked_up():
    script = (FASTAPI / "page.html").read_text().partition("<script")[2]
    lines = [line.partition("  // ")[0] for line in script.splitlines() if not line.lstrip().startswith("//")]
    said = re.findall(r'(?<!tr\()["`]([A-Z][a-z]+(?: [^"`]*)?[a-z.…!?])["`]', "\n".join(lines))
    others = {"Content-Type", "Escape", "Enter", "Files", "A new chat"}  # names, and the title that a row has
    assert {each for each in said if each not in others} == set()


def test_the_scripts_are_given_all_of_their_texts():
    from opencode_sessions.django.templatetags.opencode import SCRIPT_TEXTS  # noqa: PLC0415 - it needs Django

    found = {text for path in SOURCE.rglob("*.js") for text in tool._CALL.findall(path.read_text())}
    assert found == set(SCRIPT_TEXTS)


@pytest.mark.parametrize("name", [*TOOLS, "github_create_issue", "mystery"])
@pytest.mark.parametrize("status", ["pending", "running", "completed", "error"])
def test_the_verb_of_each_tool_is_looked_up(marked, name, status):
    (card,) = display([{"type": "tool", "id": "prt_1", "tool": name, "status": status, "error": "No"}])
    assert card.verb.startswith("⟦")
    assert card.verb.endswith("⟧")


@pytest.mark.parametrize(
    "name", ["bash", "edit", "read", "webfetch", "doom_loop", "external_directory", "github_x"]
)
def test_the_verb_of_each_ask_is_looked_up(marked, name):
    ask = display_ask({"id": "per_1", "permission": name, "patterns": ["x"], "metadata": {}})
    assert ask.verb.startswith("⟦")


@pytest.mark.parametrize("name", _KNOWN)
def test_why_a_turn_failed_is_looked_up(marked, name):
    shown = display_error({"name": name, "message": ""})
    assert shown.title.startswith("⟦")
    assert not shown.advice or shown.advice.startswith("⟦")


def test_a_user_who_is_called_like_a_text_keeps_the_name(german):
    assert display_error({"name": "Cancelled", "by": "Session"}).title == "Abgebrochen von Session"
    assert display_error({"name": "Cancelled", "by": "you"}).title == "Abgebrochen von Ihnen"


# -- how it is looked up


def test_a_text_is_found_in_the_language_and_english_is_shown_without_one(german):
    assert texts.text("Allow once") == "Einmal erlauben"
    assert texts.text("Nobody has translated this") == "Nobody has translated this"
    with texts.speaking("fr"):
        assert texts.text("Allow once") == "Allow once"
    with texts.speaking("de-at"):
        assert texts.text("Allow once") == "Einmal erlauben"


def test_the_same_english_word_has_a_translation_for_each_context(german):
    assert texts.text("Read", context="done") == "Gelesen:"
    assert texts.text("Read", context="ask") == "Lesen:"


def test_plural_forms_and_numbers_are_those_of_the_language(german):
    assert texts.counted("{count} file", "{count} files", 1) == "1 Datei"
    assert texts.counted("{count} file", "{count} files", 1200) == "1.200 Dateien"
    assert texts.number(1234.56, 1) == "1.234,6"
    with texts.speaking("en"):
        assert texts.counted("{count} file", "{count} files", 1200) == "1,200 files"
        assert texts.number(1234.56, 1) == "1,234.6"


def test_a_value_with_a_place_in_it_stays_as_it_is():
    assert texts.text("Stopped by {who}", who="{who} {count}") == "Stopped by {who} {count}"
    assert texts.text("Stopped by {who}", whom="x") == "Stopped by {who}"


def test_what_a_row_keeps_in_english_is_shown_in_the_language(german):
    stored = texts.later("it is larger than {number} bytes", number=1_000_000)
    assert stored == "it is larger than 1,000,000 bytes"
    assert texts.stored_text(stored) == "sie ist größer als 1.000.000 Bytes"
    assert texts.stored_text("it is gone") == "sie ist nicht mehr da"
    assert (
        texts.stored_text("Something of the host's own, 3000 times")
        == "Something of the host's own, 3000 times"
    )


def test_each_thread_has_its_language(german):
    found = []
    thread = threading.Thread(target=lambda: found.append(texts.text("Refuse")))
    thread.start()
    thread.join()
    assert (texts.text("Refuse"), found) == ("Ablehnen", ["Refuse"])


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.5", "de"),
        ("fr,de;q=0.5,en;q=0.9", "en"),
        ("fr", "en"),
        ("en;q=0.1,de;q=0", "en"),
        ("DE_ch", "de"),
        ("../../etc,*;q=x,,;", "en"),
        ("de;q=nan", "en"),
        (",".join(["xx"] * 50 + ["de"]), "en"),
    ],
)
def test_a_browser_s_wishes_are_one_of_our_languages(header, language):
    assert texts.accepted(header) == language


def test_a_name_that_leads_out_of_the_folder_finds_nothing():
    catalogues = Catalogues()
    with catalogues.speaking("../locale/de"):
        assert catalogues.find("opencode", "Refuse") == "Refuse"


def test_a_host_s_folder_adds_a_language_and_overrides_a_text(tmp_path):
    for language, refuse in (("de", "Nein"), ("eo", "Rifuzi")):
        path = tmp_path / language / "LC_MESSAGES" / "django.po"
        path.parent.mkdir(parents=True)
        tool.write(path, tool._HEADER.format(name=language), {tool.Message("opencode", "Refuse"): [refuse]})
        tool.compile_catalogue(path)
    catalogues = Catalogues()
    catalogues.add(tmp_path)
    assert catalogues.languages() == ["de", "en", "eo"]
    with catalogues.speaking("eo"):
        assert catalogues.find("opencode", "Refuse") == "Rifuzi"
        assert catalogues.find("opencode", "Answer") == "Answer"
    with catalogues.speaking("de"):
        assert catalogues.find("opencode", "Refuse") == "Nein"
        assert catalogues.find("opencode", "Answer") == "Antworten"
