"""The environment of a managed server, and the files that it reads at its start.

The server gets the variables that every program needs, and only those other variables of this process that it should
use. The commands of its agents get fewer: see `guard.js`, a plugin that every managed server loads.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["GUARD", "guard_marker", "server_environment"]

_EVERYBODY = {
    *("PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SHELL", "TERM", "USER", "LOGNAME"),
    *(
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
    ),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
}
# The V2 line has other names, and does not read the V1 line's variables.
_DEFAULTS_OF_V2 = {"snapshots": False, "update": "disable"}
_WITHOUT_PROJECT_OF_V2 = {"OPENCODE_CONFIG_PROJECT_DISABLE": "1", "OPENCODE_DISABLE_CLAUDE_CODE": "1"}
# For a snapshot, Git would run programs that the configuration of a repository in the agent's folder names (1.18.33).
_DEFAULTS = {"snapshot": False}
GUARD = Path(__file__).with_name("guard.js")
"""The plugin."""

_REFERENCE = re.compile(r"\{env:([^}]+)\}")


def server_environment(
    data: Path,
    directory: Path,
    *,
    config: Mapping[str, Any] | None,
    models: Mapping[str, Any] | None,
    project_config: bool,
    pass_env: Collection[str],
    v2: bool,
) -> dict[str, str]:
    """The variables of a server whose data are in `data`. The files that they name are written there, too.

    Args:
        data: The data folder, which is also the server's home.
        directory: Its working directory.
        config: OpenCode's configuration.
        models: See `OpencodeServer`.
        project_config: See `OpencodeServer`.
        pass_env: More variables of this process for the server, but not for its agents' commands.
        v2: Whether it is a server of the V2 line, which does not load the guard, a plugin of the V1 line.
    """
    config = config or {}
    keys = {*pass_env, *_keys(config)}
    keys.update(name for provider in (models or {}).values() for name in provider.get("env", ()))
    _spare_an_installation(data / ".config" / "opencode")
    environ = {
        name: value
        for name, value in os.environ.items()
        if name in _EVERYBODY or name.startswith("LC_") or name in keys
    }
    environ |= {
        "HOME": str(data),
        "XDG_CACHE_HOME": str(data / ".cache"),
        "XDG_CONFIG_HOME": str(data / ".config"),
        "XDG_DATA_HOME": str(data / ".local" / "share"),
        "XDG_STATE_HOME": str(data / ".local" / "state"),
        "PWD": str(directory),
        "OPENCODE_DISABLE_AUTOUPDATE": "true",
        # Its index of files, for people who type a name, takes three threads and 40 wake-ups a second for each
        # directory (1.18.33).
        "OPENCODE_DISABLE_FFF": "true",
        "OPENCODE_CONFIG_CONTENT": json.dumps(
            {**_DEFAULTS_OF_V2, **config}
            if v2
            else {**_DEFAULTS, **config, "plugin": [GUARD.as_uri(), *config.get("plugin", ())]}
        ),
        "OPENCODE_SESSIONS_GUARDED": str(guard_marker(data)),
        "OPENCODE_SESSIONS_HIDDEN": ",".join(sorted(keys)),
    }
    if not project_config:
        environ |= {"OPENCODE_DISABLE_PROJECT_CONFIG": "true", "OPENCODE_DISABLE_EXTERNAL_SKILLS": "true"}
        environ |= _WITHOUT_PROJECT_OF_V2 if v2 else {}
    if models is not None:
        catalogue = data / "models.json"
        catalogue.write_text(json.dumps(dict(models)), encoding="utf-8")
        environ |= {"OPENCODE_MODELS_PATH": str(catalogue), "OPENCODE_DISABLE_MODELS_FETCH": "true"}
    return environ


def guard_marker(data: Path) -> Path:
    """The file that the guard writes when the server has loaded it."""
    return data / "guarded"


def _keys(config: Mapping[str, Any]) -> Iterator[str]:
    """The variables to which a configuration refers, and those of the providers that it names."""
    yield from _REFERENCE.findall(json.dumps(config))
    models = [config]
    for name in ("agent", "command", "agents", "commands"):
        models += config.get(name, {}).values()
    named = [str(each.get(key, "")) for each in models for key in ("model", "small_model")]
    providers = {*config.get("provider", {}), *config.get("providers", {})}
    for provider in {*providers, *(name.partition("/")[0] for name in named)}:
        yield f"{provider.upper().replace('-', '_')}_API_KEY"


def _spare_an_installation(folder: Path) -> None:
    """Make the server think that its plugins' types are installed, so that it does not ask npm for them.

    Without a network, each folder's first session would otherwise wait minutes for npm (1.18.33).
    """
    lock = folder / "package-lock.json"
    if lock.exists():
        return
    (folder / "node_modules").mkdir(parents=True, exist_ok=True)
    lock.write_text(
        json.dumps({"packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}), encoding="utf-8"
    )
