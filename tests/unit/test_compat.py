"""`make compat`: what it says of a release, and that the document is what it said."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from opencode_sessions import errors
from opencode_sessions.wire.detect import SUPPORTED, is_supported

ROOT = Path(__file__).parents[2]


def load():
    spec = importlib.util.spec_from_file_location("compat", ROOT / "tools" / "compat.py")
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module


compat = load()


def document_rows():
    """The table of the document: what its head says, by release."""
    section = compat.DOCUMENT.read_text().partition(compat.BEGIN)[2].partition(compat.END)[0]
    head, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.split("\n") if line
    )
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


def test_the_document_has_the_spread():
    assert list(document_rows()) == list(reversed(compat.SPREAD))


@pytest.mark.parametrize("version", compat.SPREAD)
def test_the_document_says_what_the_library_says_and_that_what_is_supported_works(version):
    row = document_rows()[version]
    assert row["the library says"] == ("supported" if is_supported(version) else "refused")
    if is_supported(version):
        assert {row[suite] for suite in compat.SUITES} == {"passes"}


def test_the_spread_has_the_pinned_release_and_goes_to_where_the_library_stops():
    pinned = json.loads((ROOT / "package.json").read_text())["dependencies"]["opencode-ai"]
    assert pinned == compat.SPREAD[-1]
    assert not is_supported(compat.SPREAD[0])


def test_the_suites_are_there():
    assert [
        name for names in compat.SUITES.values() for name in names if not (compat.TESTS / name).exists()
    ] == []


def test_a_refusal_that_names_both_versions_is_as_it_should_be():
    outcome = compat.Outcome("1.2.3")
    compat.check_refusal(
        errors.UnsupportedVersionError(f"found 1.2.3, needed {SUPPORTED}", found="1.2.3"), outcome
    )
    assert not outcome.wrong


@pytest.mark.parametrize(
    "error",
    [
        errors.UnsupportedVersionError("found 1.2.3", found="1.2.3"),
        errors.UnsupportedVersionError(f"needed {SUPPORTED}", found="1.2.3"),
        errors.NotOpencodeError(f"1.2.3 is not {SUPPORTED}"),
    ],
)
def test_any_other_refusal_is_wrong(error):
    outcome = compat.Outcome("1.2.3")
    compat.check_refusal(error, outcome)
    assert outcome.wrong
    assert str(error) in outcome.notes[0]


def test_a_release_that_cannot_be_installed_is_wrong(capfd):
    outcome = compat.examine("no release")
    assert outcome.wrong
    assert outcome.notes == ["could not be installed"]
    assert "'no release' is no release" in capfd.readouterr().err


def test_the_table_has_the_newest_release_first_and_what_is_wrong_in_bold():
    good = compat.Outcome("1.1.0", "refused", notes=["said so", "said so"])
    bad = compat.Outcome("1.2.0", "supported", {"lifecycle": "passes", "turns": "fails"}, ["why"], wrong=True)
    assert compat.table([good, bad]).split("\n") == [
        "| OpenCode | the library says | lifecycle | turns | notes |",
        "| --- | --- | --- | --- | --- |",
        "| 1.2.0 | supported | passes | fails | **why** |",
        "| 1.1.0 | refused | - | - | said so |",
    ]


def test_a_note_is_one_short_line_that_cannot_end_its_cell():
    assert compat.shortened("a | b\n  c") == r"a \| b c"
    assert len(compat.shortened("x" * 999)) == 160


def test_the_first_failure_is_read_from_what_pytest_reports(tmp_path):
    report = tmp_path / "report.xml"
    assert compat.first_failure(report) is None
    report.write_text(
        '<testsuites><testsuite><testcase name="test_a"/>'
        '<testcase name="test_b"><failure message="it is so"/></testcase></testsuite></testsuites>'
    )
    assert compat.first_failure(report) == "test_b: it is so"


def test_only_what_stands_between_the_marks_is_written_anew():
    document = f"above\n{compat.BEGIN}\nold\n{compat.END}\nbelow\n"
    assert compat.rewritten(document, "new") == f"above\n{compat.BEGIN}\n\nnew\n\n{compat.END}\nbelow\n"


@pytest.mark.parametrize("document", ["", compat.BEGIN, compat.END, f"{compat.END}{compat.BEGIN}"])
def test_a_document_without_both_marks_is_left_alone(document):
    with pytest.raises(ValueError, match=r"versions\.md needs"):
        compat.rewritten(document, "new")
