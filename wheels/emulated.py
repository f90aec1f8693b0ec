"""For the tests under emulation, which is ten times slower: few examples each, and none judged by its time.

It is laid beside the tests as their outermost conftest.py.
"""

from typing import Any

import pytest
from hypothesis import settings

EXAMPLES = 10


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        test: Any = getattr(item, "obj", None)
        own = getattr(test, "_hypothesis_internal_use_settings", None)
        if isinstance(own, settings):  # what a test asks for itself would go before a profile
            few = settings(own, max_examples=min(EXAMPLES, own.max_examples), deadline=None)
            getattr(test, "__func__", test)._hypothesis_internal_use_settings = few  # noqa: SLF001 - no other door
