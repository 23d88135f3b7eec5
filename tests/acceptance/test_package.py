"""What is published: the source archive, and the wheel that is built from it, installed into a fresh environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from fix_docs import page

import opencode_sessions

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[2]


def run(*command, cwd, **environ):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder with both: the wheel is built from the source archive, as an installer does it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist):
    [wheel] = dist.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def fresh_python(wheel, tmp_path_factory):
    """The Python of an environment with the wheel, which finds the other packages of this one, and not the sources."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python, here = folder / "bin" / "python", sysconfig.get_path("purelib")
    packages = folder / "lib" / Path(here).parent.name / "site-packages"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps"),
        wheel,
        cwd=folder,
    )
    (packages / "others.pth").write_text(f"{here}\n")  # the sources' own .pth, which is there, is not read so
    return python


def test_both_pass_the_checks_of_the_index(dist):
    files = sorted(dist.iterdir())
    assert [file.suffix for file in files] == [".whl", ".gz"]
    said = run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=dist, NO_COLOR="1")
    assert said.count("PASSED") == 2
    run(sys.executable, "-m", "check_wheel_contents", files[0], cwd=ROOT)  # which has its settings


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel):
    source = ROOT / "src"
    files = {
        str(path.relative_to(source))
        for path in (source / "opencode_sessions").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as opened:
        packed = {name for name in opened.namelist() if ".dist-info/" not in name}
    assert packed == files


def test_the_source_archive_has_the_package_and_its_papers(dist):
    [archive] = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        outside = {name.partition("/")[2] for name in opened.getnames() if "/src/" not in name}
    papers = {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert outside == papers


def test_the_version_is_the_newest_of_the_changelog(fresh_python, tmp_path):
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## \[(.*?)\]", changelog, re.MULTILINE)[:2] == [
        "Unreleased",
        opencode_sessions.__version__,
    ]
    said = run(fresh_python.parent / "opencode-sessions", "--version", cwd=tmp_path)
    assert said == f"opencode-sessions {opencode_sessions.__version__}\n"


def test_the_wheel_runs_a_turn(fresh_python, server, tmp_path):
    code = re.search(r"^```python sqlalchemy\n(.*?)^```$", page("sqlalchemy.md"), re.DOTALL | re.MULTILINE)[1]
    code += "import opencode_sessions\nprint(opencode_sessions.__file__)\n"
    reach = {"OPENCODE_BASE_URL": server.url, "OPENCODE_SERVER_PASSWORD": server.password}
    said = run(fresh_python, "-W", "error", "-c", code, cwd=tmp_path, **reach)
    assert said.startswith('completed You said: "Where shall we eat?".')
    assert str(fresh_python.parents[1]) in said.splitlines()[-1]
