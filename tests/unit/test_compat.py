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


STAND_IN = """
import sys
from opencode_sessions.testing.v2 import __main__
{fault}
__main__.main(sys.argv[1:])
"""

SOUND = ""
OTHER_VERSION = (
    "if '--version' not in sys.argv: sys.modules['opencode_sessions.testing.v2.routes'].VERSION = '2.1.0'"
)
UNSUPPORTED = "sys.modules['opencode_sessions.testing.v2.routes'].VERSION = '2.0.3'"
IGNORES_RULES = "sys.modules['opencode_sessions.testing.v2.session_routes']._rules = lambda body: None"


@pytest.fixture
def stand_in(tmp_path):
    """Call it for the path of an executable named `opencode`: the stand-in for a 2.x server, with a fault."""

    def make(fault, version="2.1.2-fake"):
        program = tmp_path / "stand_in.py"
        program.write_text(STAND_IN.format(fault=fault))
        said = f'[ "$1" = --version ] && echo {version} && exit'  # at once, on a busy machine too
        return executable(tmp_path, f'#!/bin/sh\n{said}\nexec {sys.executable} {program} "$@"\n')

    return make


def executable(folder, script):
    binary = folder / "opencode"
    binary.write_text(script)
    binary.chmod(0o755)
    return str(binary)


@pytest.fixture
def tests_of(tmp_path, monkeypatch):
    """Call it with the tests that are run on a release."""

    def put(text):
        monkeypatch.setattr(compat, "TESTS", tmp_path)
        monkeypatch.setattr(compat, "SERVERS", tmp_path)
        monkeypatch.setattr(compat, "ROOT", tmp_path)
        monkeypatch.setattr(compat, "SUITES", {"turns": ("test_it.py",)})
        monkeypatch.setattr(compat, "SUITES_OF_V2", {})
        (tmp_path / "test_it.py").write_text(text)

    return put


PASSES = "def test_a(): pass"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 3", "CalledProcessError"),
        ("echo", "does not say its version"),
        ('[ "$1" = --version ] && echo 2.1.2 && exit; exit 1', "died at its start"),
    ],
)
def test_a_binary_that_is_no_server_is_wrong(tests_of, tmp_path, script, why):
    tests_of(PASSES)
    outcome = compat.examine(executable(tmp_path, f"#!/bin/sh\n{script}\n"))
    assert outcome.wrong
    assert why in outcome.notes[0]


@pytest.mark.full
@pytest.mark.parametrize(
    ("fault", "version", "why"),
    [
        (OTHER_VERSION, "2.1.2-fake", "the binary says that it is 2.1.2-fake, and its server 2.1.0"),
        (UNSUPPORTED, "2.0.3", "nothing is proved"),
        (IGNORES_RULES, "2.1.2-fake", "NotGuardedError"),
    ],
    ids=["another version", "unsupported", "ignores rules"],
)
def test_a_2_x_binary_that_misbehaves_is_wrong(tests_of, stand_in, fault, version, why):
    tests_of(PASSES)
    outcome = compat.examine(stand_in(fault, version))
    assert outcome.wrong
    assert why in " ".join(outcome.notes)


@pytest.mark.full
@pytest.mark.parametrize(
    ("text", "comes_of_it", "wrong"),
    [
        (PASSES, "passes", False),
        ("def test_a(): assert not 'so'", "fails", True),
        ("import pytest\ndef test_a(): pytest.skip('not here')", "fails", True),
        ("", "fails", True),
    ],
    ids=["passes", "fails", "skipped", "none"],
)
def test_a_2_x_binary_is_proved_by_tests_that_pass_and_by_nothing_else(
    tests_of, stand_in, text, comes_of_it, wrong
):
    tests_of(text)
    outcome = compat.examine(stand_in(SOUND))
    assert (outcome.version, outcome.says) == ("2.1.2-fake", "supported")
    assert outcome.suites == {"turns": comes_of_it}
    assert outcome.wrong == wrong
