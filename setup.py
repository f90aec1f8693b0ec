"""Builds the compiled twins of `_fast/`; everything else about the package stands in pyproject.toml.

MCP_ILERT_PURE=1 builds without them, MCP_ILERT_REQUIRE_FAST=1 fails where they cannot be built.
Without either, a machine that has no compiler gets the same modules as plain Python, with a warning.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

PURE = os.environ.get("MCP_ILERT_PURE") == "1"
REQUIRED = os.environ.get("MCP_ILERT_REQUIRE_FAST") == "1"


def sources() -> list[str]:
    """Every module of `_fast/` but the package itself; relative, as setuptools wants them."""
    return sorted(str(p) for p in Path("src/mcp_ilert/_fast").glob("*.py") if p.name != "__init__.py")


def extension(path: str) -> Extension:
    return Extension(
        "mcp_ilert._fast." + Path(path).stem,
        [path],
        extra_compile_args=["-O3", "-fvisibility=hidden"] if os.name == "posix" else [],
    )


def extensions() -> list[Extension]:
    if PURE:
        return []
    try:
        from Cython.Build import cythonize  # noqa: PLC0415 - absent where nothing is to be compiled
    except ImportError:
        if REQUIRED:
            raise
        print("warning: Cython is not installed; mcp_ilert._fast runs as plain Python", file=sys.stderr)  # noqa: T201
        return []
    built: list[Extension] = cythonize(  # type: ignore[no-untyped-call]  # Cython has no types for it
        [extension(path) for path in sources()], language_level=3, build_dir="build/cython"
    )
    for module in built:
        module.optional = not REQUIRED  # setuptools then only warns; cythonize would not keep it
    return built


if PURE and REQUIRED:
    sys.exit("MCP_ILERT_PURE=1 and MCP_ILERT_REQUIRE_FAST=1 contradict each other; set one of them")
setup(ext_modules=extensions())
