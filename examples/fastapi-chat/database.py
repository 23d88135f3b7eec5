"""The database."""

from __future__ import annotations

import os

from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

engine = create_async_engine(os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///chat.sqlite3"))
sessions = async_sessionmaker(engine, expire_on_commit=False)
