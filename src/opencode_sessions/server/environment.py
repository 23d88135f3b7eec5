"""What a managed server is told: the environment of its process, and the files that it reads at its start.

The server gets what every program needs, and of this process's other variables only those that it is to use. The
commands of its agents get less: see `guard.js`, a plugin that every managed server loads.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["guard_marker", "server_environment"]

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
# The V2 line calls it otherwise, and does not read the first line's variables for the others.
_DEFAULTS_OF_V2 = {"snapshots": False, "update": "disable"}
_WITHOUT_PROJECT_OF_V2 = {"OPENCODE_CONFIG_PROJECT_DISABLE": "1", "OPENCODE_DISABLE_CLAUDE_CODE": "1"}
# A snapshot lets Git run what the configuration of a repository in the agent's folder names (1.18.33).
_DEFAULTS = {"snapshot": False}
_GUARD = Path(__file__).with_name("guard.js")
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
    """The variables of a server that keeps its data in `data`, where the files that they name are written.

    Args:
        data: The data folder, which is its home as well.
        directory: Its working directory.
        config: OpenCode's configuration.
        models: See `OpencodeServer`.
        project_config: See `OpencodeServer`.
        pass_env: Variables of this process that the server gets, too, and its agents' commands do not.
        v2: Is it of the V2 line? That does not load the guard, which is a plugin of the V1 line.
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
        "OPENCODE_CONFIG_CONTENT": json.dumps(
            {**_DEFAULTS_OF_V2, **config}
            if v2
            else {**_DEFAULTS, **config, "plugin": [_GUARD.as_uri(), *config.get("plugin", ())]}
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
    """The file that says that the server has loaded the guard."""
    return data / "guarded"


def _keys(config: Mapping[str, Any]) -> Iterator[str]:
    """The variables that a configuration refers to, and those of the providers that it names."""
    yield from _REFERENCE.findall(json.dumps(config))
    models = [config]
    for name in ("agent", "command", "agents", "commands"):
        models += config.get(name, {}).values()
    named = [str(each.get(key, "")) for each in models for key in ("model", "small_model")]
    providers = {*config.get("provider", {}), *config.get("providers", {})}
    for provider in {*providers, *(name.partition("/")[0] for name in named)}:
        yield f"{provider.upper().replace('-', '_')}_API_KEY"


def _spare_an_installation(folder: Path) -> None:
    """Let a server believe that it has installed its plugins' types, which it asks npm for.

    Without the network, each folder's first session would wait for that for minutes (1.18.33).
    """
    lock = folder / "package-lock.json"
    if lock.exists():
        return
    (folder / "node_modules").mkdir(parents=True, exist_ok=True)
    lock.write_text(
        json.dumps({"packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}), encoding="utf-8"
    )
