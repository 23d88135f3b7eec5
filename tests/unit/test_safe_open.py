"""What an agent does in its folder shows nothing of what lies outside."""

from __future__ import annotations

import itertools
import os
import random
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opencode_sessions.errors import ConfigurationError
from opencode_sessions.files import safe_open
from opencode_sessions.files.errors import FileRefusedError
from opencode_sessions.files.safe_open import Folder, parts_of

SECRET = b"secret"
OWN = b"own"


@pytest.fixture(params=["by the kernel", "part by part"])
def folder(request, tmp_path, monkeypatch):
    """An agent's folder beside others, open, and read in either way."""
    if request.param == "part by part":
        monkeypatch.setattr(safe_open._kernel, "resolves", False)
    elif not safe_open._kernel.resolves:
        pytest.skip("this kernel has no openat2")
    for name in ("sandbox-1", "sandbox-10"):
        (tmp_path / name / "inner").mkdir(parents=True)
    (tmp_path / "sandbox-1/file").write_bytes(OWN)
    (tmp_path / "sandbox-1/inner/file").write_bytes(OWN)
    for secret in ("secret", "sandbox-10/file", "sandbox-10/inner/file"):
        (tmp_path / secret).write_bytes(SECRET)
    with Folder(tmp_path, "sandbox-1") as folder:
        yield folder


@pytest.fixture
def own(tmp_path):
    return tmp_path / "sandbox-1"


def read(folder, path, limit=1_000_000):
    return b"".join(folder.read(path, limit=limit))


def refusal(folder, path, **options):
    with pytest.raises(FileRefusedError) as caught:
        read(folder, path, **options)
    return caught.value.reason


def test_a_regular_file_is_read_and_nothing_that_is_outside(folder):
    assert (read(folder, "file"), read(folder, "inner/file")) == (OWN, OWN)
    for path in (
        "../secret",
        "../sandbox-10/file",
        "inner/../../secret",
        "/etc/passwd",
        "",
        ".",
        "inner//file",
        "a\0b",
    ):
        assert refusal(folder, path).startswith("its "), path


def test_no_link_is_followed_neither_at_the_end_nor_on_the_way(folder, own, tmp_path):
    (own / "to-file").symlink_to(tmp_path / "secret")
    (own / "to-folder").symlink_to(tmp_path / "sandbox-10")
    (own / "to-own").symlink_to("file")
    (own / "up").symlink_to("..")
    (own / "magic").symlink_to("/proc/self/cwd")
    for path in (
        "to-file",
        "to-folder/file",
        "to-folder/inner/file",
        "to-own",
        "up/secret",
        "magic/setup.py",
    ):
        assert "link" in refusal(folder, path), path


def test_what_is_no_regular_file_is_refused_at_once(folder, own):
    os.mkfifo(own / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(own / "socket"))
        began = time.monotonic()
        assert "folder" in refusal(folder, "inner")
        for path in ("pipe", "socket"):
            assert "no regular file" in refusal(folder, path)
        assert time.monotonic() - began < 1
    os.link(own / "file", own / "second")
    assert "hard link" in refusal(folder, "second")
    (own / "closed").write_bytes(OWN)
    (own / "closed").chmod(0)
    if os.geteuid():
        assert "may not be read" in refusal(folder, "closed")
    assert "gone" in refusal(folder, "none")


def test_no_more_is_read_than_the_limit_though_the_file_grows(folder, own):
    assert read(folder, "file", limit=3) == OWN
    assert "larger than 2 bytes" in refusal(folder, "file", limit=2)
    pieces = folder.read("file", limit=10)
    assert next(pieces) == OWN
    with (own / "file").open("ab") as file:
        file.write(b"x" * 100)
    with pytest.raises(FileRefusedError, match="larger than 10 bytes"):
        list(pieces)


def test_a_folder_that_was_moved_is_still_the_folder(folder, own, tmp_path):
    own.rename(tmp_path / "moved")
    own.symlink_to(tmp_path / "sandbox-10")
    assert read(folder, "file") == OWN
    with pytest.raises(FileRefusedError, match="link"):
        Folder(tmp_path, "sandbox-1")


def test_without_a_way_to_open_relative_to_a_folder_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "supports_dir_fd", set())
    with pytest.raises(ConfigurationError, match="disk=False"):
        Folder(tmp_path, "x")


@given(path=st.text(st.sampled_from("a./\\\0~ \n\u202eé\ud800:*"), max_size=12) | st.text(max_size=40))
def test_whatever_a_path_says_its_parts_stay_inside(path):
    with suppress(FileRefusedError):
        parts = parts_of(path)
        assert "/".join(parts) == path
        assert os.path.normpath(f"/root/{path}").startswith("/root/")
        path.encode()


@given(st.lists(st.sampled_from(["..", ".", "", "a", "inner", "/etc", "file"]), max_size=6).map("/".join))
def test_hostile_names_read_own_files_or_nothing(tmp_path_factory, path):
    root = tmp_path_factory.getbasetemp() / "hostile"
    if not root.exists():
        (root / "own/inner").mkdir(parents=True)
        (root / "own/inner/file").write_bytes(OWN)
        (root / "file").write_bytes(SECRET)
        (root / "own/a").symlink_to("..")
    with Folder(root, "own") as folder, suppress(FileRefusedError):
        assert read(folder, path) == OWN


@pytest.mark.parametrize("reads", [3_000, pytest.param(100_000, marks=pytest.mark.full)])
def test_threads_that_swap_files_links_and_folders_show_nothing(folder, own, tmp_path, reads):
    (own / "deep/inner").mkdir(parents=True)
    (own / "deep/inner/file").write_bytes(OWN)
    found = {OWN: 0, b"": 0}
    with swapping(own, tmp_path / "sandbox-10"):
        deadline = time.monotonic() + 60
        for number in itertools.count():
            both = min(found.values()) >= 10
            if number >= reads and (both or time.monotonic() > deadline):
                break
            path = ("file", "inner/file", "deep/inner/file")[number % 3]
            try:
                content = read(folder, path)
            except FileRefusedError:
                content = b""
            found[content] += 1  # a KeyError would be an escape
    assert both, "or nothing was tried"


@contextmanager
def swapping(own, other):
    """Inside, threads put links to another folder, or to a file in it, in the places of what is read, and back."""
    over = threading.Event()
    swapped = [
        ("file", other / "file"),
        ("inner", other / "inner"),
        ("deep", other),
        ("deep/inner", other / "inner"),
    ]
    # Each by the descriptor of its folder, or a thread would move what another thread's link leads to.
    folders = [os.open((own / path).parent, os.O_RDONLY | os.O_DIRECTORY) for path, _ in swapped]
    threads = [
        threading.Thread(target=_swap, args=[over, folder, (own / path).name, to])
        for folder, (path, to) in zip(folders, swapped, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for folder in folders:
            os.close(folder)


def _swap(over, folder, name, to):
    draw = random.Random(str(to))  # noqa: S311 - so that a run can be repeated
    aside = f"{name}.aside"
    while not over.is_set():
        os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
        os.symlink(to, name, dir_fd=folder)
        time.sleep(draw.random() / 5_000)
        os.unlink(name, dir_fd=folder)
        time.sleep(draw.random() / 5_000)
        os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
        time.sleep(draw.random() / 5_000)
