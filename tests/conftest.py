"""Fixtures for all tests. Helpers that a test imports live beside this file (`fast.py`, `world.py`)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
