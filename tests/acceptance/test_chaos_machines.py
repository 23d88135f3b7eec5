"""A short round on several machines, whose lines and processes fail, keeps every promise.

`make chaos ARGS=--machines` is the long run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from fix_cli import eventually
from fix_programs import find_program

TESTS = Path(__file__).parents[1]
SEEDS = (13,)
"""Each chooses its queue."""
PATIENCE = 1200

pytestmark = [pytest.mark.full, pytest.mark.timeout(2 * PATIENCE)]

FAULTS = """
import os, socket, sys, time
from chaos.machines import Network

network = Network(["one", "other"])
one, other = network.machines.values()
with one.inside():
    listening = socket.create_server((one.address, 8080))

def reached(machine=other):
    with machine.inside():
        try:
            socket.create_connection((one.address, 8080), timeout=1.5).close()
        except OSError:
            return False
        return True

assert reached() and reached(one)
for fault in (
    lambda: one.lose(arriving=100, leaving=0),
    lambda: one.lose(arriving=0, leaving=100),
    lambda: other.lose(arriving=100, leaving=100),
    lambda: one.lose(arriving=100, leaving=0, port=8080),
):
    fault()
    assert not reached() and reached(one), fault
    network.heal()
    assert reached(), fault
one.lose(arriving=100, leaving=100, port=8081)
assert reached()
one.narrow(64)
with other.inside():
    began = time.monotonic()
    with socket.create_connection((one.address, 8080)) as line:
        served, _ = listening.accept()
        while served.getpeername() != line.getsockname():
            served, _ = listening.accept()
        line.sendall(bytes(16_000))
        received = 0
        while received < 16_000:
            received += len(served.recv(16_000))
assert time.monotonic() - began > 1
print("all happened")
"""


@pytest.fixture(scope="module")
def environ():
    """Of the harness, which is a program of its own."""
    for program in ("unshare", "nsenter", "ip", "tc", "nft"):
        find_program(program)
    if os.geteuid() != 0:
        pytest.skip("to make network namespaces needs root")
    made = subprocess.run(
        [
            "unshare",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            "ip",
            "link",
            "add",
            "switch",
            "type",
            "bridge",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        missing(f"no network namespaces can be made here: {made.stderr}")
    path = os.pathsep.join([str(TESTS), str(TESTS / "fixtures"), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}


def test_a_fault_strikes_its_machine_and_is_healed(environ, tmp_path):
    program = tmp_path / "faults.py"
    program.write_text(FAULTS)
    inside = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        [*inside, sys.executable, str(program)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.stdout == "all happened\n", done.stderr


def test_a_run_that_is_killed_leaves_no_process_and_no_device(environ):
    running = subprocess.Popen(
        [sys.executable, "-m", "chaos", "--machines", "--queue", "built-in"],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        namespace = eventually(lambda: _namespace_of_children(running))
        eventually(lambda: {"postgres", "valkey-server"} <= set(_running_in(namespace)))
        assert _running_in(namespace).count("sleep") == 8
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    eventually(lambda: not _running_in(namespace))
    assert "switch" not in subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("seed", SEEDS)
def test_on_machines_every_prompt_is_there_once_and_every_answer_is_in_its_row(environ, tmp_path, seed):
    size = ["--rounds", "1", "--records", "3", "--messages", "2", "--seconds", "12"]
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "--machines", "--seed", str(seed), *size, "--keep", str(tmp_path)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 violations" in done.stdout
    assert "fault lines: " in done.stdout


def _namespace_of_children(running):
    """The namespace of processes in which a program starts others; None while that is ours."""
    assert running.poll() is None, "it has ended by itself"
    with suppress(FileNotFoundError):  # a new one cannot be read before its first process is there
        found = Path(f"/proc/{running.pid}/ns/pid_for_children").readlink()
        return found if found != Path("/proc/self/ns/pid").readlink() else None
    return None


def _running_in(namespace):
    """The programs in a namespace of processes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if (folder / "ns/pid").readlink() == namespace:
                found.append((folder / "comm").read_text().strip())
    return found
