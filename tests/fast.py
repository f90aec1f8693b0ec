"""Loads one module of `_fast/` twice: as compiled, and as the plain Python that it was compiled from."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

import mcp_ilert._fast as package

FOLDER = Path(package.__file__).parent


def load_fast(name: str, *, pure: bool) -> ModuleType:
    """The module `_fast/NAME`, pure or compiled; skips where it is not compiled, fails where the build is stale."""
    source = FOLDER / f"{name}.py"
    if pure:
        spec = importlib.util.spec_from_file_location(f"pure_{name}", source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module
    module = importlib.import_module(f"mcp_ilert._fast.{name}")
    built = Path(str(module.__file__))
    if built.suffix == ".py":
        pytest.skip(f"_fast/{name} is not compiled here")
    newest = max(p.stat().st_mtime for p in (source, source.with_suffix(".pxd")) if p.exists())
    assert built.stat().st_mtime >= newest, f"{built.name} is older than its source; run make test"
    return module
