"""In the place of the documentation's: the models of `make chaos`."""

from __future__ import annotations

import os

from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from chaos.host import Base, Conversation, Message

__all__ = ["Base", "Conversation", "Message", "engine", "sessions"]

engine = create_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
sessions = sessionmaker(engine, expire_on_commit=False)
