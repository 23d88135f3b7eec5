from __future__ import annotations

import pytest

from opencode_sessions.errors import ServerNotInstalledError
from opencode_sessions.server.binary import find_binary


def make_binary(folder, name="opencode"):
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / name
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    return binary


@pytest.fixture
def places(tmp_path):
    """A binary in each place where one is looked for, in the order of the looking."""
    argument = make_binary(tmp_path / "argument")
    variable = make_binary(tmp_path / "variable")
    path = make_binary(tmp_path / "path")
    near = make_binary(tmp_path / "project" / "deep" / "node_modules" / ".bin")
    far = make_binary(tmp_path / "project" / "node_modules" / ".bin")
    return argument, variable, path, near, far


def test_the_places_are_tried_in_their_order(places, tmp_path):
    argument, variable, path, near, far = places
    environ = {"OPENCODE_BIN": str(variable), "PATH": str(path.parent)}
    start = tmp_path / "project" / "deep"
    assert find_binary(argument, environ=environ, start=start) == argument
    assert find_binary(environ=environ, start=start) == variable
    del environ["OPENCODE_BIN"]
    assert find_binary(environ=environ, start=start) == path
    path.unlink()
    assert find_binary(environ=environ, start=start) == near
    near.unlink()
    assert find_binary(environ=environ, start=start) == far


def test_a_name_is_looked_up_on_path(tmp_path):
    binary = make_binary(tmp_path, "opencode-next")
    assert find_binary("opencode-next", environ={"PATH": str(tmp_path)}) == binary


def test_an_empty_variable_names_nothing(places):
    path = places[2]
    assert find_binary(environ={"OPENCODE_BIN": "", "PATH": str(path.parent)}) == path


def test_a_relative_path_becomes_absolute(tmp_path, monkeypatch):
    binary = make_binary(tmp_path / "tools")
    monkeypatch.chdir(tmp_path)
    assert find_binary("tools/opencode", environ={"PATH": ""}) == binary


def test_what_is_missing_is_said_with_the_command_that_mends_it(tmp_path):
    with pytest.raises(ServerNotInstalledError, match="run `npm install opencode-ai`") as raised:
        find_binary(environ={"PATH": str(tmp_path)}, start=tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("source", ["binary", "OPENCODE_BIN"])
def test_a_binary_that_is_named_and_missing_is_an_error_though_there_is_another(places, tmp_path, source):
    missing = str(tmp_path / "missing")
    environ = {"PATH": str(places[2].parent), "OPENCODE_BIN": missing if source == "OPENCODE_BIN" else ""}
    with pytest.raises(ServerNotInstalledError, match=f"^{source} names .*missing"):
        find_binary(missing if source == "binary" else None, environ=environ, start=tmp_path)


def test_a_file_that_may_not_be_run_is_no_binary(tmp_path):
    make_binary(tmp_path).chmod(0o644)
    with pytest.raises(ServerNotInstalledError):
        find_binary(environ={"PATH": str(tmp_path)}, start=tmp_path)
