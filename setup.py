"""Builds the compiled twins of `_fast/`; everything else about the package stands in pyproject.toml.

MCP_ILERT_PURE=1 builds without them, MCP_ILERT_REQUIRE_FAST=1 fails where they cannot be built.
Without either, a machine that has no compiler gets the same modules as plain Python, with a warning.
"""

import os
from pathlib import Path

from setuptools import Extension, setup

PURE = os.environ.get("MCP_ILERT_PURE") == "1"
REQUIRED = os.environ.get("MCP_ILERT_REQUIRE_FAST") == "1"


def sources() -> list[str]:
    """Every module of `_fast/` but the package itself."""
    return sorted(str(p) for p in Path("src/mcp_ilert/_fast").glob("*.py") if p.name != "__init__.py")


def extensions() -> list[Extension]:
    if PURE:
        return []
    try:
        from Cython.Build import cythonize  # noqa: PLC0415 - absent where nothing is to be compiled
    except ImportError:
        if REQUIRED:
            raise
        print("warning: Cython is not installed; mcp_ilert._fast runs as plain Python")  # noqa: T201
        return []
    modules = [
        Extension(
            "mcp_ilert._fast." + Path(path).stem,
            [path],
            optional=not REQUIRED,
            extra_compile_args=["-O3", "-fvisibility=hidden"] if os.name == "posix" else [],
        )
        for path in sources()
    ]
    built: list[Extension] = cythonize(modules, language_level=3, build_dir="build/cython")
    return built


setup(ext_modules=extensions())
