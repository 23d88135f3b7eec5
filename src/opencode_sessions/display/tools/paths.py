"""Readable paths, relative to the worktree; and the language that a file's name suggests."""

from __future__ import annotations

from collections.abc import Iterable

from opencode_sessions.display.coerce import LONGEST, Json, objects, one_line, section
from opencode_sessions.protocol.plain import said

__all__ = ["language_of", "relative", "short", "worktree_of"]

_LANGUAGES = {
    "bash": "bash sh zsh",
    "c": "c h",
    "cpp": "cc cpp cxx hpp",
    "csharp": "cs",
    "css": "css",
    "diff": "diff patch",
    "dockerfile": "dockerfile",
    "elixir": "ex exs",
    "go": "go",
    "html": "htm html",
    "ini": "cfg conf ini",
    "java": "java",
    "javascript": "cjs js mjs",
    "json": "json jsonc",
    "jsx": "jsx",
    "kotlin": "kt kts",
    "lua": "lua",
    "makefile": "makefile mk",
    "markdown": "md markdown",
    "php": "php",
    "python": "py pyi",
    "ruby": "rb",
    "rust": "rs",
    "scss": "scss",
    "sql": "sql",
    "swift": "swift",
    "toml": "toml",
    "tsx": "tsx",
    "typescript": "cts mts ts",
    "xml": "svg xml",
    "yaml": "yaml yml",
}
_BY_ENDING = {ending: language for language, endings in _LANGUAGES.items() for ending in endings.split()}


def language_of(path: str) -> str:
    """The highlighters' name of the language; empty if the file's name does not tell."""
    name = path.replace("\\", "/").rpartition("/")[2].lower()
    return _BY_ENDING.get(name.rpartition(".")[2], "")


def relative(path: str, root: str) -> str:
    """The path relative to the worktree, if it is in it."""
    root = root.rstrip("/\\")
    inside = root and path.startswith((f"{root}/", f"{root}\\"))
    return path[len(root) + 1 :] if inside else path


def short(path: str, root: str, limit: int = LONGEST) -> str:
    """See `relative`; made visible, on one line."""
    return one_line(relative(path, root), limit)


def worktree_of(parts: Iterable[Json]) -> str:
    """The root of the worktree, from calls that name a file both ways; empty without one.

    It is `/` if the folder is not in a Git repository: the server then names each file relative to `/`, without the
    slash (1.18.33).
    """
    for part in parts:
        metadata = section(part, "metadata")
        named = [
            (section(metadata, "display").get("path"), part.get("title")),
            (section(metadata, "filediff").get("file"), part.get("title")),
            (metadata.get("filepath"), part.get("title")),
            *(
                (file.get("movePath") or file.get("filePath"), file.get("relativePath"))
                for file in objects(metadata.get("files"))
            ),
        ]
        for absolute, relative in named:
            path, ending = said(absolute), said(relative)
            if ending and not ending.startswith("..") and path.endswith(f"/{ending}"):
                return path[: -len(ending) - 1] or "/"
    return ""
