"""Builds what of `_fast/` is compiled; everything else about the package stands in pyproject.toml.

MCP_ILERT_PURE=1 builds without them, MCP_ILERT_REQUIRE_FAST=1 fails where they cannot be built.
Without either, a machine that has no compiler gets the same modules as plain Python, with a warning; those that
are written in Cython (`.pyx`) are then absent, and what they do runs on slower ways.
"""

import os
import sys
from pathlib import Path
from typing import Any

from setuptools import Extension, setup

PURE = os.environ.get("MCP_ILERT_PURE") == "1"
REQUIRED = os.environ.get("MCP_ILERT_REQUIRE_FAST") == "1"
FLAGS = ["-O3", "-fvisibility=hidden"] if os.name == "posix" else []
NEEDS: dict[str, dict[str, Any]] = {}
"""What a module needs beyond a C compiler: arguments of its Extension, by its name."""
LINUX_ONLY = {"reactor"}


def sources() -> list[Path]:
    """Every module of `_fast/` that this system has a use for; relative, as setuptools wants them."""
    folder = Path("src/mcp_ilert/_fast")
    left_out = {"__init__"} if sys.platform == "linux" else {"__init__"} | LINUX_ONLY
    return sorted(p for p in folder.iterdir() if p.suffix in {".py", ".pyx"} and p.stem not in left_out)


def extension(path: Path) -> Extension:
    return Extension(
        f"mcp_ilert._fast.{path.stem}", [str(path)], extra_compile_args=FLAGS, **NEEDS.get(path.stem, {})
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
