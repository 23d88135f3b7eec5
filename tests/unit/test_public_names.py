from __future__ import annotations

import ast
from pathlib import Path

import opencode_sessions
from opencode_sessions import aio, errors


def test_every_public_name_is_there_and_listed_once():
    for module in (opencode_sessions, aio, errors):
        assert sorted(set(module.__all__)) == sorted(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)


def test_the_public_names_are_exactly_these():
    beside_errors = set(opencode_sessions.__all__) - set(errors.__all__)
    assert sorted(beside_errors) == [
        "ASK_FIRST",
        "Answer",
        "Ask",
        "AskAnswered",
        "AskRaised",
        "Change",
        "Client",
        "Deadlines",
        "ErrorContext",
        "Event",
        "EventsMissed",
        "File",
        "FirstToken",
        "Gap",
        "Health",
        "IN_THE_ROW",
        "Leftover",
        "Listener",
        "Message",
        "Observer",
        "OpencodeServer",
        "Part",
        "Pruner",
        "READ_ONLY",
        "READ_WRITE",
        "Reply",
        "ReplyChanged",
        "Rule",
        "Servers",
        "Session",
        "SessionCreated",
        "SessionEnsured",
        "SessionInfo",
        "StatusChanged",
        "TRUSTED",
        "Timeouts",
        "Turn",
        "TurnDropped",
        "TurnEvent",
        "TurnFinished",
        "TurnFound",
        "TurnLeft",
        "TurnRecovered",
        "TurnResult",
        "TurnStarted",
        "TurnStatus",
        "TurnTaken",
        "__version__",
        "allow",
        "ask",
        "deny",
        "digest",
        "evaluate",
        "new_message_id",
        "new_part_id",
        "new_session_id",
        "permission_config",
        "recover",
        "retold",
    ]


def test_the_face_for_asyncio_has_the_same_names_and_five_of_its_own():
    both = set(opencode_sessions.__all__) & set(aio.__all__)
    assert set(opencode_sessions.__all__) - both == {"OpencodeServer", "__version__"}
    assert set(aio.__all__) - both == {"Subscription"}
    own = {name for name in both if getattr(aio, name) is not getattr(opencode_sessions, name)}
    assert own == {"Client", "Pruner", "Session", "Turn", "recover"}


def test_every_error_is_in_the_tree_that_its_module_draws():
    drawn = errors.__doc__
    for name in errors.__all__:
        error = getattr(errors, name)
        if isinstance(error, type) and issubclass(error, Exception):
            assert issubclass(error, errors.OpencodeError)
            assert f" {name} " in drawn or f" {name}\n" in drawn


def test_the_faces_hold_names_and_no_logic():
    package = Path(opencode_sessions.__file__).parent
    for name in ("__init__.py", "aio.py"):
        body = ast.parse((package / name).read_text()).body
        assert {type(node) for node in body} <= {ast.Expr, ast.Import, ast.ImportFrom, ast.Assign}
