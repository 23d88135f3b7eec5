"""What recovery finds: turns that nobody runs, and ended turns whose files are due."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from host_models import Base, Prompt
from sqlalchemy import create_engine
from sqlalchemy.orm import Session as Database

from opencode_sessions.files.memory import MemoryArtifactStore
from opencode_sessions.files.ports import Due
from opencode_sessions.files.storage import FolderStorage
from opencode_sessions.host.tables import HostTables
from opencode_sessions.jobs.left_behind import left_behind
from opencode_sessions.runtime.stepping import run_sync
from opencode_sessions.sqlalchemy import SQLAlchemyTurnTable
from opencode_sessions.store.turn_table import TurnJob


def due(job):
    return Due(job, f"{job.table}:{job.pk}", job.record, "folder")


@pytest.mark.parametrize("first", ["prompts", "renamed"])
def test_files_whose_table_is_unknown_do_not_keep_those_of_other_turns_from_being_collected(
    tmp_path, caplog, first
):
    engine = create_engine(f"sqlite:///{tmp_path}/host.sqlite3")
    Base.metadata.create_all(engine)
    with Database(engine) as rows, rows.begin():
        rows.add(Prompt(id=1, prompt="x", status="completed"))
    store = MemoryArtifactStore(FolderStorage(tmp_path / "bytes"))
    host = SimpleNamespace(
        table=HostTables([SQLAlchemyTurnTable(Prompt, engine)], suspend=False), artifacts=store
    )
    known = TurnJob("prompts", "1", "", "prompts:1")
    jobs = {"prompts": known, "renamed": TurnJob("renamed", "1", "", "renamed:1")}
    for name in sorted(jobs, key=lambda name: name != first):
        run_sync(store.expect(due(jobs[name]), look_after=-1))
    assert run_sync(left_behind(host, reserve_for=60)) == [known]
    assert "the files of renamed 1 are due and cannot be collected now" in caplog.text
    engine.dispose()
