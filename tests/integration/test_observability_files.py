"""The dashboard and the alert rules name metrics and labels that Prometheus gets of turns on the real server."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import promql_parser
import pytest
import yaml
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry

from opencode_sessions import Answer, Client, Session, Turn, allow, ask
from opencode_sessions.store.memory import MemoryMessage, MemoryRecord
from opencode_sessions.store.turn_table import ServerCount, TurnCounts
from opencode_sessions.telemetry import Telemetry

FOLDER = Path(__file__).parents[2] / "examples" / "observability"
DASHBOARD = json.loads((FOLDER / "grafana-dashboard.json").read_text())
RULES = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DOCS = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text()
PROMPTS = '!tool bash {"command": "true", "description": "nothing"}\n!say done', "!error 400 no"
OF_PROMETHEUS = {"le", "__name__"}


def expressions():
    """Each with where it stands."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")
    for rule in RULES:
        yield rule["alert"], rule["expr"]


def named_in(node):
    """The metrics of an expression with the labels that it names: of a selector its own, of `by` those of all in it."""
    found = {}

    def note(node, around):
        if isinstance(node, promql_parser.VectorSelector):
            labels = {matcher.name for matcher in node.matchers.matchers}
            found.setdefault(node.name, set()).update(labels | around)
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            around = around | set(node.modifier.labels)
        for name in ("expr", "lhs", "rhs", "vector_selector"):
            below = getattr(node, name, None)
            if below is not None and not isinstance(below, str):
                note(below, around)
        for each in getattr(node, "args", ()) or ():
            note(each, around)

    note(node, set())
    return found


@pytest.fixture(scope="module")
def exported(server):
    """By the name of a series, the labels that it has."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader()
    registry.register(reader._collector)
    meters = MeterProvider([reader], shutdown_on_exit=False)
    telemetry = Telemetry(meter_provider=meters)
    with Client(server.url, password=server.password) as client:
        for prompt in PROMPTS:
            record, listener = MemoryRecord("A story"), telemetry.listener()
            session = Session(record, permissions_for=[allow("*"), ask("bash")])
            options = {"on_ask": lambda _: Answer.once(), "observer": listener}
            Turn(MemoryMessage(prompt), session, client, **options).run()
    telemetry.count(TurnCounts())
    telemetry.count_servers([ServerCount("a", 1, 2, 1.0, healthy=True)])
    telemetry.instruments.queue_delay.record(1)
    telemetry.instruments.resends.add(1)
    telemetry.instruments.gaps.add(1)
    found = {}
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    meters.shutdown()
    return found


def test_an_expression_names_what_is_exported(exported):
    for place, expression in expressions():
        named = named_in(promql_parser.parse(expression))
        assert named, f"{place} names no metric"
        for name, labels in named.items():
            assert name in exported, place
            assert labels - OF_PROMETHEUS <= exported[name], place


def test_a_legend_names_a_label_that_its_expression_leaves():
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b[^)]*\)", target["expr"]), panel["title"]


def test_every_metric_is_shown_and_told_of(exported):
    families = {re.sub(r"_(total|bucket|sum|count|created)$", "", name) for name in exported}
    shown = " ".join(expression for _, expression in expressions())
    families -= {"target_info"}
    assert [name for name in sorted(families) if name not in shown] == []
    metrics = DOCS.partition("## Metrics")[2].partition("\n## ")[0]
    told = {name.replace(".", "_") for name in re.findall(r"^\| `([\w.]+)`", metrics, re.MULTILINE)}
    assert {re.sub(r"_seconds$", "", name) for name in families} == told


def test_panels_stand_beside_each_other_and_alerts_say_what_to_do():
    cells = []
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        columns = range(grid["x"], grid["x"] + grid["w"])
        cells += itertools.product(columns, range(grid["y"], grid["y"] + grid["h"]))
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for rule in RULES:
        assert {"alert", "expr", "labels", "annotations"} <= set(rule)
        assert {"summary", "description"} == set(rule["annotations"])
