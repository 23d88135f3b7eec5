from __future__ import annotations

import gc
import signal

import pytest
from hypothesis import HealthCheck, settings

# A shell lets its background jobs ignore Ctrl-C, and they pass that on to all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# On a busy machine an example takes any time. All else stays as Hypothesis has it, there and in CI.
settings.register_profile(
    "any machine",
    settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")


# What is collected lives until the end: garbage collection would visit it again and again, now and later.
gc.disable()


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


# One concern a file, in tests/fixtures.
pytest_plugins = [
    "pytester",
    "fix_budget",
    "fix_cli",
    "fix_client",
    "fix_deletion",
    "fix_docs",
    "fix_postgres",
    "fix_programs",
    "fix_mariadb",
    "fix_processes",
    "fix_pace",
    "fix_order",
    "fix_otlp",
    "fix_runners",
    "fix_server",
    "fix_s3",
    "fix_stores",
    "fix_django_app",
    "fix_django_views",
    "fix_django_logins",
    "fix_django_project",
    "fix_brokers",
    "fix_browser",
    "fix_fake_v2",
    "fix_fastapi",
    "fix_queues",
    "fix_chats",
    "fix_summary",
    "fix_times",
    "fix_unreachable",
    "fix_valkey",
]
