"""A process that ends takes its server and its locks with it, although a child that it forked runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from fix_cli import eventually

from opencode_sessions.errors import ServerStartError
from opencode_sessions.server.data_folder import DataFolder

TREE = """
import os, sys, time
from pathlib import Path
from opencode_sessions.server.process_tree import ProcessTree
home = Path(sys.argv[1])
tree = ProcessTree(["sleep", "300"], directory=home, environ={"PATH": os.defpath}, log=home / "log")
told = tree.pid
"""
FOLDER = """
import os, sys, time
from pathlib import Path
from opencode_sessions.server.data_folder import DataFolder
folder = DataFolder(Path(sys.argv[1]))
told = os.getpid()
"""
FORK = """
readable, writable = os.pipe()
child = os.fork()
if child == 0:
    os.write(writable, b".")
    time.sleep(300)
os.read(readable, 1)  # the child has run, and given up what it must not hold
print(told, child, flush=True)
time.sleep(300)
"""


@contextmanager
def owner_that_forked(setup, folder):
    """The process, what it tells, and its child, which runs on after it."""
    command = [sys.executable, "-c", setup + FORK, folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        told, child = map(int, owner.stdout.readline().split())
        try:
            yield owner, told, child
        finally:
            owner.kill()
            os.kill(child, signal.SIGKILL)


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_tree_ends_with_its_killed_owner_although_a_forked_child_runs_on(tmp_path):
    with owner_that_forked(TREE, tmp_path) as (owner, leader, child):
        assert lives(leader)
        owner.kill()
        owner.wait()
        assert eventually(lambda: not lives(leader), seconds=20)
        assert lives(child)


def test_a_data_folder_is_free_after_its_owner_was_killed_although_a_forked_child_runs_on(tmp_path):
    with owner_that_forked(FOLDER, tmp_path) as (owner, pid, child):
        with pytest.raises(ServerStartError, match=f"process {pid} holds"):  # the fork has not unlocked it
            DataFolder(tmp_path)
        owner.kill()
        owner.wait()
        DataFolder(tmp_path).release()
        assert lives(child)


@pytest.mark.parametrize(("setup", "end"), [(TREE, "tree.kill()"), (FOLDER, "folder.release()")])
def test_a_forked_child_can_end_what_it_got_without_an_error(tmp_path, setup, end):
    in_child = (
        "child = os.fork()\n"
        "if child == 0:\n"
        f"    {end}\n"
        "    os._exit(0)\n"
        "status = os.waitpid(child, 0)[1]\n"
        f"{end}\n"
        "sys.exit(status)\n"
    )
    command = [sys.executable, "-c", setup + in_child, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_forked_child_that_releases_a_data_folder_leaves_the_lock_to_its_parent(tmp_path):
    script = (
        "if os.fork() == 0:\n"
        "    folder.release()\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print(told, flush=True)\n"
        "sys.stdin.readline()\n"
    )
    command = [sys.executable, "-c", FOLDER + script, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        pid = owner.stdout.readline().strip()
        with pytest.raises(ServerStartError, match=f"process {pid} holds"):
            DataFolder(tmp_path)
