# ruff: noqa: INP001, T201 - a script, which prints its table
"""`make compat`: on which releases of the OpenCode server does this library work?

Each release is installed into .state/servers. What the library says of it is asked of the library, and its own tests
of the lifecycle and of turns are run on it: on a release that it supports they must pass, and what it refuses must be
refused with what was found and what is needed. The exit code says whether all of that is so.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from opencode_sessions import Client, OpencodeServer, Session, deny, errors
from opencode_sessions.server.binary import version_of
from opencode_sessions.store.memory import MemoryRecord
from opencode_sessions.wire.detect import SUPPORTED, is_of_v2

ROOT = Path(__file__).resolve().parent.parent
SERVERS = ROOT / ".state" / "servers"
DOCUMENT = ROOT / "docs" / "versions.md"
BEGIN, END = "<!-- make compat ARGS=--write: begin -->", "<!-- end -->"

SPREAD = (
    "1.17.0",  # the newest that npm has before the first that works
    "1.17.11",  # the oldest that npm has of those that work
    "1.17.19",
    "1.18.3",
    "1.18.10",
    "1.18.20",  # the oldest that is supported
    "1.18.28",
    "1.18.33",  # what package.json pins
)

TESTS = ROOT / "tests" / "integration"
SUITES = {
    "lifecycle": (
        "test_lifecycle.py",
        "test_reconcile.py",
        "test_session_deletion.py",
        "test_directories.py",
    ),
    "turns": ("test_turn.py", "test_turn_ends.py"),
}

SUITES_OF_V2 = {"2.x": ("test_turn_asks.py", "test_v2_line.py")}

_ENOUGH_FAILURES = 3
_START = 100.0
"""Seconds until a server must have started, on a machine that is busy with other tests."""

_LONGEST_NOTE = 160


@dataclass
class Outcome:
    """What came of one release: a row of the table.

    Attributes:
        version: The release.
        says: What the library says of it: `supported` or `refused`.
        suites: `passes` or `fails`, for each suite that was run.
        notes: What else there is to say.
        wrong: What should not be so.
    """

    version: str
    says: str = ""
    suites: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    wrong: bool = False

    def blame(self, note: str) -> None:
        """Note what should not be so."""
        self.notes.append(note)
        self.wrong = True


def main() -> int:
    """Go through the releases, print the table, and say by the exit code whether all is as it should be."""
    parser = argparse.ArgumentParser(prog="make compat", description=__doc__)
    parser.add_argument(
        "versions",
        nargs="*",
        metavar="VERSION",
        help="a release, or the path of a binary of either line; by default a spread of releases",
    )
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCUMENT.name}")
    arguments = parser.parse_args()
    if arguments.write and arguments.versions:
        parser.error("the document has the whole spread: --write goes without versions")
    outcomes = [examine(version) for version in arguments.versions or SPREAD]
    lines = table(outcomes)
    print(lines)
    if arguments.write:
        DOCUMENT.write_text(rewritten(DOCUMENT.read_text(encoding="utf-8"), lines), encoding="utf-8")
    return int(any(outcome.wrong for outcome in outcomes))


def examine(version: str) -> Outcome:
    """Install a release, ask the library about it, and run the tests where a session can be made."""
    if "/" in version:
        return examine_binary(Path(version))
    outcome = Outcome(version)
    installed = subprocess.run(  # noqa: S603 - our own tool
        [ROOT / "tools" / "install-server", sys.executable, version],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        print(installed.stderr, file=sys.stderr)
        outcome.blame("could not be installed")
        return outcome
    run_on(SERVERS / version / "node_modules" / ".bin" / "opencode", outcome)
    return outcome


def examine_binary(binary: Path) -> Outcome:
    """The same for a binary that is there."""
    try:
        outcome = Outcome(version_of(binary))
    except (OSError, subprocess.SubprocessError) as error:
        outcome = Outcome(str(binary))
        outcome.blame(told(error))
        return outcome
    if not re.fullmatch(r"[\w.+-]+", outcome.version):
        outcome = Outcome(str(binary))
        outcome.blame("does not say its version")
        return outcome
    (SERVERS / outcome.version).mkdir(parents=True, exist_ok=True)
    run_on(binary.absolute(), outcome)
    if outcome.says == "refused":
        outcome.blame("nothing is proved: the library does not support it")
    return outcome


def run_on(binary: Path, outcome: Outcome) -> None:
    """Ask the library about a binary, and run the tests if a session can be made."""
    try:
        usable = meet(binary, outcome)
    except errors.OpencodeError as error:
        outcome.blame(told(error))
        return
    if usable:
        for suite in suites_of(outcome.version):
            run(suite, binary, outcome)


def suites_of(version: str) -> dict[str, tuple[str, ...]]:
    """What is run on a release: on one of the 2.x line also what is different there."""
    return SUITES | (SUITES_OF_V2 if is_of_v2(version) else {})


def meet(binary: Path, outcome: Outcome) -> bool:
    """Start the server, and ask the library what it thinks of it. Can sessions be made there?"""
    with (
        OpencodeServer(binary=binary, startup_timeout=_START) as server,
        Client(server.url, password=server.password) as client,
    ):
        try:
            client.health()
        except errors.UnsupportedVersionError as refusal:
            outcome.says = "refused"
            check_refusal(refusal, outcome)
        else:
            outcome.says = "supported"
        if server.version != outcome.version:
            outcome.blame(f"the binary says that it is {outcome.version}, and its server {server.version}")
        try:
            Session(MemoryRecord("compat"), permissions_for=[deny("bash")]).ensure(client)
        except errors.OpencodeError as error:
            check_refusal(error, outcome)
            outcome.notes.append(told(error))
            return False
        return True


def check_refusal(error: errors.OpencodeError, outcome: Outcome) -> None:
    """A host must read in the error which server it has, and which it needs."""
    refused = isinstance(error, errors.UnsupportedVersionError)
    if not refused or outcome.version not in str(error) or SUPPORTED not in str(error):
        outcome.blame(f"does not say which version is there and which is needed: {told(error)}")


def run(suite: str, binary: Path, outcome: Outcome) -> None:
    """Run one suite on a binary; what it prints is kept beside that."""
    paths = [TESTS / name for name in suites_of(outcome.version)[suite]]
    report, log = (SERVERS / outcome.version / f"{suite}.{ending}" for ending in ("xml", "log"))
    report.unlink(missing_ok=True)
    line = {"OPENCODE_LINE": "v2" if is_of_v2(outcome.version) else "v1"}
    with log.open("w", encoding="utf-8") as output:
        command = [sys.executable, "-m", "pytest", f"--maxfail={_ENOUGH_FAILURES}", f"--junitxml={report}"]
        code = subprocess.run(  # noqa: S603 - our own tests
            [*command, *paths],
            cwd=ROOT,
            env={**os.environ, "OPENCODE_BIN": str(binary), **line},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    code = code or int(not has_passed(report))
    outcome.suites[suite] = "fails" if code else "passes"
    print(f"{outcome.version} {suite}: {last_line(log)}", file=sys.stderr)
    if code:
        outcome.notes.append(first_failure(report) or f"no test passed: see {log.relative_to(ROOT)}")
        outcome.wrong = outcome.wrong or outcome.says == "supported"


def has_passed(report: Path) -> bool:
    """Did any test pass? If all were skipped, that proves nothing."""
    if not report.exists():
        return False
    return any(len(case) == 0 for case in ET.parse(report).iter("testcase"))  # noqa: S314 - as below


def last_line(log: Path) -> str:
    """How pytest sums up."""
    return log.read_text(encoding="utf-8").rstrip().rpartition("\n")[2].strip("= ")


def first_failure(report: Path) -> str | None:
    """The first test that failed and what it said, from pytest's report; None if there is none."""
    if not report.exists():
        return None
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it just now
        for trouble in (*case.findall("failure"), *case.findall("error")):
            return shortened(f"{case.get('name')}: {trouble.get('message')}")
    return None


def told(error: Exception) -> str:
    """An error as a note."""
    return shortened(f"{type(error).__name__}: {error}")


def shortened(text: str) -> str:
    """One line that a cell of a table can hold."""
    line = re.sub(r"\s+", " ", text).replace("|", r"\|")
    return line if len(line) <= _LONGEST_NOTE else f"{line[: _LONGEST_NOTE - 1]}…"


def table(outcomes: list[Outcome]) -> str:
    """The outcomes in Markdown, newest release first; what is wrong is in bold."""
    names = {**SUITES, **{name: () for outcome in outcomes for name in outcome.suites}}
    head = ["OpenCode", "the library says", *names, "notes"]
    rows = [head, ["---"] * len(head)]
    for outcome in reversed(outcomes):
        notes = "; ".join(dict.fromkeys(outcome.notes))
        suites = [outcome.suites.get(suite, "-") for suite in names]
        rows.append(
            [outcome.version, outcome.says or "-", *suites, f"**{notes}**" if outcome.wrong else notes]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def rewritten(document: str, lines: str) -> str:
    """The document with these lines between its marks.

    Raises:
        ValueError: The document does not have both marks, once.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after:
        raise ValueError(f"{DOCUMENT.name} needs a line {BEGIN!r} and below it a line {END!r}, once")
    return f"{before}{BEGIN}\n\n{lines}\n\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
