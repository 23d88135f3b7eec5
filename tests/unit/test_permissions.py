import hashlib
import re
import time
from collections import ChainMap
from itertools import groupby

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opencode_sessions.errors import InvalidRulesError
from opencode_sessions.protocol.permissions import (
    Rule,
    allow,
    ask,
    check_rules,
    deny,
    digest,
    evaluate,
    from_json,
    permission_config,
    to_json,
)

NASTY = st.text("ab*? /\\.+()[]{}^$|\n\u2028é😀", max_size=8)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
RULES = st.lists(st.builds(Rule, TEXTS, TEXTS, st.sampled_from(["allow", "ask", "deny"])), max_size=6)


def server_says(text, wildcard):
    """The server's own function, statement by statement; its strings are UTF-16 code units."""
    text = text.replace("\\", "/")
    wildcard = wildcard.replace("\\", "/")
    source = re.sub(r"[.+^${}()|[\]\\]", lambda found: "\\" + found[0], wildcard)
    source = source.replace("*", ".*").replace("?", ".")
    if source.endswith(" .*"):
        source = source[:-3] + "( .*)?"
    units = [
        "".join(chr(int.from_bytes(raw[at : at + 2], "little")) for at in range(0, len(raw), 2))
        for raw in (part.encode("utf-16-le") for part in (source, text))
    ]
    return re.fullmatch(units[0], units[1], re.DOTALL) is not None


@given(wildcard=NASTY.filter(bool), text=NASTY)
@example(wildcard="*a*a*b", text="aab")
@example(wildcard="ab*ba", text="aba")
@example(wildcard="a*b *", text="a b b")
def test_wildcards_match_as_the_server_matches_them(wildcard, text):
    expected = "deny" if server_says(text, wildcard) else "allow"
    assert evaluate([allow("*"), deny("edit", wildcard)], "edit", text) == expected
    assert evaluate([allow("*"), deny(wildcard)], text, "x") == expected


@pytest.mark.parametrize(
    ("wildcard", "matching", "other"),
    [
        ("*", ["", "a", "a/b", "a\nb"], []),
        ("docs/*", ["docs/", "docs/a", "docs/a/b"], ["docs", "xdocs/a", "Docs/a"]),
        ("*.py", [".py", "a/b.py"], ["a.pyc", "a.py\n", "apy"]),
        ("git *", ["git", "git ", "git push"], ["gitk", " git", "git\tpush"]),
        ("git*", ["git", "gitk", "git push"], ["agit"]),
        ("* *", ["", "a b", "a", "a "], []),
        ("a?c", ["abc", "a/c", "a\nc"], ["ac", "abbc", "a😀c"]),
        ("a??c", ["a😀c", "abbc"], ["abc"]),
        ("a\\b", ["a/b", "a\\b"], ["ab"]),
        ("(a|b)[c]{1}^$+.", ["(a|b)[c]{1}^$+."], ["ac"]),
    ],
)
def test_a_wildcard_matches_these_and_not_those(wildcard, matching, other):
    rules = [deny("*"), allow("edit", wildcard)]
    assert {text: evaluate(rules, "edit", text) for text in matching} == dict.fromkeys(matching, "allow")
    assert {text: evaluate(rules, "edit", text) for text in other} == dict.fromkeys(other, "deny")


def test_the_last_match_wins():
    rules = [deny("*"), allow("edit", "docs/*"), ask("edit", "docs/secret*"), allow("web*")]
    assert evaluate(rules, "edit", "docs/a") == "allow"
    assert evaluate(rules, "edit", "docs/secret.md") == "ask"
    assert evaluate(rules, "edit", "src/a") == "deny"
    assert evaluate(rules, "webfetch", "http://x/") == "allow"
    assert evaluate(reversed(rules), "edit", "docs/secret.md") == "deny"


@pytest.mark.parametrize("rules", [[], [allow("read")], [allow("edit", "other")]])
def test_no_match_asks(rules):
    assert evaluate(rules, "edit", "a") == "ask"


def test_a_wildcard_of_many_stars_does_not_take_exponential_time():
    start = time.process_time()
    assert evaluate([allow("edit", "*a" * 30 + "b")], "edit", "a" * 3_000) == "ask"
    assert time.process_time() - start < 2


def test_the_constructors_take_everything_as_the_pattern_unless_told():
    assert allow("edit") == Rule("edit", "*", "allow")
    assert ask("edit", "docs/*") == Rule("edit", "docs/*", "ask")
    assert deny("*") == Rule("*", "*", "deny")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Rule("edit", "*", "allowed"), "action must be one of allow, ask, deny, not 'allowed'"),
        (lambda: Rule("edit", "*", None), "action must be one of"),
        (lambda: Rule("edit", "*", ["deny"]), "action must be one of"),
        (lambda: deny(""), "permission is empty"),
        (lambda: deny("edit", ""), "pattern is empty"),
        (lambda: deny("edit", None), "pattern must be a text, not NoneType None"),
        (lambda: deny(["edit"]), "permission must be a text, not list"),
        (lambda: deny("edit", b"docs/*"), "pattern must be a text, not bytes"),
        (lambda: deny("edit", "\ud800"), "pattern cannot be sent"),
    ],
)
def test_a_rule_that_the_server_could_not_take_cannot_be_made(make, complaint):
    with pytest.raises(InvalidRulesError, match=complaint):
        make()


A_DICT = {"permission": "edit", "pattern": "docs/*", "action": "ask"}


@pytest.mark.parametrize(
    "value",
    [
        [allow("read"), A_DICT],
        (allow("read"), A_DICT),
        (rule for rule in (allow("read"), A_DICT)),
        {1: allow("read"), 2: A_DICT}.values(),
        [allow("read"), ChainMap(A_DICT)],
    ],
)
def test_rules_may_be_rules_or_dicts_in_any_ordered_iterable(value):
    assert check_rules(value) == (allow("read"), ask("edit", "docs/*"))


@pytest.mark.parametrize("value", [[], (), iter([])])
def test_no_rules_are_rules(value):
    assert check_rules(value) == ()


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, "not None; for no rules of its own return []"),
        (allow("edit"), "in a list, and this is a single rule: [Rule(permission='edit'"),
        (A_DICT, "in a list, not dict {'permission': 'edit'"),
        ({}, "in a list, not dict {}"),
        ("allow", "in a list, not str 'allow'"),
        (b"", "in a list, not bytes b''"),
        (7, "in a list, not int 7"),
        (allow, "in a list, not function <function allow"),
        ({allow("edit")}, "not a set: the last match wins, so order counts"),
        (frozenset(), "not a set"),
        (
            [allow("edit"), "deny"],
            "rule 1 must be a Rule, as allow(), ask() and deny() make it, not str 'deny'",
        ),
        ([allow("edit"), None], "rule 1 must be a Rule"),
        ([[allow("edit")]], "rule 0 must be a Rule"),
        ([("edit", "*", "deny")], "rule 0 must be a Rule"),
        ([A_DICT, {"permission": "edit"}], "rule 1 lacks pattern, action: dict {'permission': 'edit'}"),
        ([{**A_DICT, "patern": "x"}], "rule 0 has 'patern', which a rule does not have"),
        (
            [A_DICT, {**A_DICT, "action": "DENY"}],
            "rule 1: a rule's action must be one of allow, ask, deny",
        ),
        ([{**A_DICT, "permission": None}], "rule 0: a rule's permission must be a text"),
        (["x" * 500], "x…"),
    ],
)
def test_what_is_no_list_of_rules_is_refused_with_what_and_where(value, complaint):
    with pytest.raises(InvalidRulesError, match=re.escape(complaint)):
        check_rules(value)


def test_what_a_host_s_own_generator_raises_is_not_dressed_up():
    def broken():
        yield allow("read")
        raise LookupError("no owner")

    with pytest.raises(LookupError, match="no owner"):
        check_rules(broken())


def test_rules_go_to_the_server_in_its_form():
    assert to_json([deny("*"), ask("edit", "docs/*")]) == [
        {"permission": "*", "pattern": "*", "action": "deny"},
        {"permission": "edit", "pattern": "docs/*", "action": "ask"},
    ]


@given(RULES)
def test_rules_come_back_from_json_as_they_were(rules):
    assert from_json(to_json(rules)) == check_rules(to_json(rules)) == tuple(rules)


def test_a_session_without_rules_has_none():
    assert from_json(None) == from_json([]) == ()


def test_fields_that_a_newer_server_adds_are_skipped():
    assert from_json([{**A_DICT, "source": "session"}]) == (ask("edit", "docs/*"),)


@pytest.mark.parametrize(
    "value", [{}, "", 3, [None], [{"permission": "edit"}], [{**A_DICT, "action": "maybe"}]]
)
def test_what_is_no_list_of_rules_does_not_come_from_json(value):
    with pytest.raises(InvalidRulesError):
        from_json(value)


def test_the_digest_is_the_sha_256_of_the_canonical_json():
    written = rb'[{"action":"ask","pattern":"d\u00e9j\u00e0 \"vu\"\\*","permission":"edit"}]'
    assert digest([ask("edit", 'déjà "vu"\\*')]) == hashlib.sha256(written).hexdigest()
    assert digest([]) == hashlib.sha256(b"[]").hexdigest()


@given(RULES, RULES)
def test_digests_are_equal_exactly_for_equal_rules_in_the_same_order(some, others):
    assert digest(some) == digest(iter(list(some)))
    assert (digest(some) == digest(others)) == (some == others)


def test_the_order_of_rules_changes_their_digest():
    assert digest([allow("a"), deny("b")]) != digest([deny("b"), allow("a")])


@given(RULES)
def test_a_configuration_has_the_rules_in_their_order_or_refuses_them(rules):
    names = [name for name, _ in groupby(rule.permission for rule in rules)]
    if len(names) > len(set(names)):
        with pytest.raises(InvalidRulesError, match="put the rules for it together"):
            permission_config(rules)
        return
    again = [
        Rule(name, *each)
        for name, given in permission_config(rules).items()
        for each in (given.items() if isinstance(given, dict) else [("*", given)])
    ]
    for rule in rules:
        wanted = evaluate(rules, rule.permission, rule.pattern)
        assert evaluate(again, rule.permission, rule.pattern) == wanted


def test_a_configuration_has_each_permission_once():
    rules = [deny("*"), allow("read"), deny("read", "*.env*"), allow("read", "a.env")]
    read = {"*": "allow", "*.env*": "deny", "a.env": "allow"}
    assert permission_config(rules) == {"*": "deny", "read": read}
    assert list(permission_config(rules)["read"]) == list(read)
    with pytest.raises(InvalidRulesError, match="'read' stands after rules for other permissions"):
        permission_config([allow("read"), deny("edit"), deny("read", "*.env*")])
