"""Texts in Django: the active language decides, and a project's own catalogues come first."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from django.test import override_settings
from django.utils import translation

from opencode_sessions import texts
from opencode_sessions.display import display_ask

_spec = importlib.util.spec_from_file_location("texts_tool", Path(__file__).parents[2] / "tools" / "texts.py")
tool = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tool)

ASK = {
    "id": "per_1", "kind": "permission", "permission": "bash", "patterns": ["rm *"], "always": ["rm <b>*"],
    "metadata": {"command": "rm x"},
}  # fmt: skip
ERROR = {"name": "TotalTimeoutError", "message": ""}


@pytest.fixture
def app(django_databases, tmp_path):
    path = tmp_path / "de" / "LC_MESSAGES" / "django.po"
    path.parent.mkdir(parents=True)
    tool.write(path, tool._HEADER.format(name="de"), {tool.Message("opencode", "Refuse"): ["Nein & danke"]})
    tool.compile_catalogue(path)
    with override_settings(
        INSTALLED_APPS=["opencode_sessions.django"],
        LOCALE_PATHS=[tmp_path],  # the first of them makes Django read all catalogues again
        STATIC_URL="/static/",
        OPENCODE={"ALLOW_ALWAYS": True},
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    ):
        yield


@pytest.fixture
def html(app):
    from opencode_sessions.django import html  # noqa: PLC0415 - with Django configured

    return html


def test_the_active_language_decides_and_the_project_overrides_a_text(html):
    with translation.override("de"):
        card = html.render_ask(display_ask(ASK))
        error = html.render_error(ERROR)
    assert "Darf der Agent das tun?" in card
    assert "Einmal erlauben" in card
    assert "Nein &amp; danke" in card, "a text is escaped"
    assert "„Immer“ erlaubt auch <code>rm &lt;b&gt;*</code>, für alle" in card
    assert "Es hat zu lange gedauert." in error
    assert "May the agent do this?" in html.render_ask(display_ask(ASK))


def test_the_scripts_get_their_texts_once_and_none_in_english(app):
    from django.template import engines  # noqa: PLC0415 - with Django configured

    page = engines["django"].from_string("{% load opencode %}{% opencode_texts %}")
    with translation.override("de"):
        said = page.render()
    assert said.startswith('<script id="opencode-texts" type="application/json">')
    assert "Sie sind abgemeldet. Laden Sie die Seite neu." in said
    assert page.render() == ""


def test_what_is_rendered_elsewhere_speaks_the_language_it_is_told(app):
    with texts.speaking("de"):
        assert (texts.language(), texts.text("Allow once")) == ("de", "Einmal erlauben")
        assert texts.counted("{count} file", "{count} files", 1200) == "1.200 Dateien"
    assert texts.text("Allow once") == "Allow once"
