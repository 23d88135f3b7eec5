"""`make chaos`; see `program`, which is imported where it is to run."""

from __future__ import annotations

import sys
from importlib import import_module

from chaos.machines import move_inside

if "--machines" in sys.argv:
    move_inside()
sys.exit(import_module("chaos.program").main())
