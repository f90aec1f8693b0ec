"""JMESPath expressions of `webhooks`, parsed when the configuration is read, so that a mistake is found there."""

import difflib
import warnings
from collections.abc import Iterator
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

MOST_CHARACTERS: Final = 1_024
MOST_LEVELS: Final = 48
"""Of the syntax tree: evaluating it takes some frames a level."""

Tree = dict[str, Any]
"""A node of the syntax tree, as jmespath has it."""


class ExpressionError(ValueError):
    """What was expected of the expression."""


def parse_expression(text: str) -> Tree:
    """The expression's syntax tree. Raises ExpressionError, saying what was expected."""
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"a JMESPath expression of at most {MOST_CHARACTERS} characters")
    try:
        with warnings.catch_warnings():  # of a deprecated form of literals
            warnings.simplefilter("ignore")
            tree: Tree = jmespath.compile(text).parsed
    except (JMESPathError, RecursionError, ValueError) as error:
        raise ExpressionError(f"a JMESPath expression ({_complaint(error)})") from None
    for node, level in _nodes(tree):
        if level > MOST_LEVELS:
            raise ExpressionError(f"a JMESPath expression of at most {MOST_LEVELS} levels")
        _check(node)
    return tree


def _check(node: Tree) -> None:
    known = Functions.FUNCTION_TABLE
    if node["type"] == "function_expression" and node["value"] not in known:
        name = str(node["value"])[:40]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ExpressionError(f"a function that JMESPath has, not {name}(){hint}")
    if node["type"] == "slice" and node["children"][2] == 0:
        raise ExpressionError("a slice whose step is not 0")


def _nodes(tree: Tree) -> Iterator[tuple[Tree, int]]:
    waiting = [(tree, 1)]
    while waiting:
        node, level = waiting.pop()
        yield node, level
        waiting += [(child, level + 1) for child in node.get("children", ()) if isinstance(child, dict)]


def _complaint(error: Exception) -> str:
    """The parser's first line, without the picture that follows it."""
    text = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return " ".join(text.split("\n", 1)[0].split())[:160].rstrip(":, ")
