"""Settings. All that a run leaves behind is in one folder: `CHAT_STATE`, or `.state` beside `manage.py`."""

from __future__ import annotations

import os
from pathlib import Path

from project.secret import secret_in

BASE = Path(__file__).resolve().parent.parent
STATE = Path(os.environ.get("CHAT_STATE") or BASE / ".state").absolute()
STATE.mkdir(parents=True, exist_ok=True)

SECRET_KEY = secret_in(STATE / "secret")
DEBUG = os.environ.get("CHAT_DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

CHAT_SANDBOX = os.environ.get("CHAT_SANDBOX", "")  # a folder in no Git worktree: see chat/sandbox.py

INSTALLED_APPS = [
    "chat",
    "opencode_sessions.django",
    "opencode_sessions.django.artifacts",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "chat.security.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": STATE / "chat.sqlite3",
        "OPTIONS": {
            "timeout": 30,
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
            "transaction_mode": "IMMEDIATE",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "home"
PASSWORD_RESET_TIMEOUT = 3600  # seconds that a link to log in holds: see chat/door.py
SESSION_COOKIE_NAME = "chat_session"  # cookies know no ports: another project here may have a session, too

LANGUAGE_CODE = "en-gb"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
TIME_ZONE = os.environ.get("TZ") or "UTC"
USE_TZ = True
STATIC_URL = "static/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "opencode_artifacts": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": STATE / "artifacts"},
    },
}

OPENCODE = {
    "SERVER": os.environ.get("OPENCODE_BASE_URL"),
    "DIRECTORY": os.environ.get("CHAT_DIRECTORY"),
    "UPLOADS": "chat.files.UPLOADS",
    "ARTIFACTS": "chat.files.ARTIFACTS",
    "NAMESPACE": "chat",
    "PERMISSIONS_FOR": "chat.policy.rules_for",
    "MAY_SEE": "chat.policy.may_see",
    "TURN_OPTIONS": "chat.policy.options_for",
    "RETRY": "chat.policy.again",
}

CHAT_SERVER_HAS_RULES = (
    os.environ.get("CHAT_SERVER_HAS_RULES") == "1"
)  # in its configuration: see chat/policy.py
CHAT_SCRIPTED = os.environ.get("CHAT_SCRIPTED") == "1"  # no provider is set up: the pages say so

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"django.request": {"level": "ERROR"}},  # what is not found is no trouble
}
