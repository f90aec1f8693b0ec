"""Plain values → Settings, by the Structs' own types; every problem on the way is kept, none stops it.

Where a value is wrong, a harmless one takes its place and its path is remembered in `broken`, so that
the checks across keys can pass over it.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.inspect import (
    AnyType,
    BoolType,
    CustomType,
    DictType,
    Field,
    FloatType,
    IntType,
    LiteralType,
    Metadata,
    StrType,
    StructType,
    Type,
    UnionType,
    VarTupleType,
)

from mcp_ilert.config.environ import PREFIX, Override, expand
from mcp_ilert.config.files import file_problem, read_secret
from mcp_ilert.config.kinds import did_you_mean, one_of
from mcp_ilert.config.secret import Secret
from mcp_ilert.config.shape import (
    bare,
    bears_secret,
    default_of,
    expectation,
    not_null,
    placeholder,
)
from mcp_ilert.config.show import kind_of, show, show_key

MOST_ITEMS = 10_000
ENOUGH_HINTS = 100
_INTEGER = re.compile(r"-?[0-9]{1,19}")


_NOWHERE: Mapping[str, str] = {}


class Broken:
    """Stands for a value that could not be read."""


BROKEN = Broken()


class Spot(msgspec.Struct, frozen=True):
    """Where a value stands: its path, the variable it came from, and whether it must not be shown."""

    path: str = ""
    variable: str | None = None
    hidden: bool = False

    def key(self, key: object) -> "Spot":
        return msgspec.structs.replace(
            self, path=f"{self.path}.{show_key(key)}" if self.path else show_key(key)
        )

    def item(self, index: int) -> "Spot":
        return msgspec.structs.replace(self, path=f"{self.path}[{index}]")

    def label(self) -> str:
        return f"{self.path} (from {self.variable})" if self.variable else self.path


class Walk:
    """One reading of one configuration."""

    def __init__(self, environ: Mapping[str, str], folder: Path, homes: Mapping[str, str] = _NOWHERE) -> None:
        self.problems: list[str] = []
        self.broken: set[str] = set()
        self._environ = environ
        self._folder = folder
        self._homes = homes

    def value(self, kind: Type, raw: object, spot: Spot, hints: Mapping[str, Any]) -> Any:
        """The value that `raw` is as this kind, or BROKEN."""
        if isinstance(raw, Override):
            return self.value(
                kind, _wanted(raw, kind), msgspec.structs.replace(spot, variable=raw.variable), hints
            )
        match kind:
            case Metadata():
                hints = {**hints, **(kind.extra or {})}
                spot = msgspec.structs.replace(spot, hidden=spot.hidden or "hidden" in hints)
                return self.value(kind.type, raw, spot, hints)
            case UnionType():
                return None if raw is None else self.value(not_null(kind), raw, spot, hints)
            case StructType():
                return self._struct(kind, raw, spot)
            case VarTupleType():
                return self._list(kind, raw, spot)
            case DictType():
                return self._map(kind, raw, spot)
            case AnyType():
                return raw
            case CustomType():
                return self._secret(raw, spot)
            case StrType() | LiteralType():
                return self._text(kind, raw, spot, hints)
            case IntType() | FloatType():
                return self._number(kind, raw, spot, hints)
            case BoolType():
                return (
                    raw
                    if isinstance(raw, bool)
                    else self._wrong(raw, spot, f"true or false{_instead(raw, spot)}")
                )
        raise TypeError(f"the model has a type that the reader does not know: {kind}")

    def _wrong(self, raw: object, spot: Spot, expected: str) -> Broken:
        got = kind_of(raw) if spot.hidden else show(raw)
        return self._problem(spot, f"got {got}, expected {expected}")

    def _problem(self, spot: Spot, line: str) -> Broken:
        self.problems.append(f"{spot.label()}: {line}")
        self.broken.add(spot.path)
        return BROKEN

    # Mappings, lists, sections --------------------------------------------------------------------------

    def _struct(self, kind: StructType, raw: object, spot: Spot) -> Any:
        if not isinstance(raw, dict):
            self._wrong(raw, spot, "a mapping of keys to values")
            return placeholder(kind)
        fields = {field.encode_name: field for field in kind.fields}
        for key in raw:
            if key not in fields:
                self._unknown(key, spot, fields)
        values = {name: self._field(field, raw, spot) for name, field in fields.items()}
        for name in fields:
            if f"{name}_file" in fields:
                values[name] = self._from_file(values[name], values[f"{name}_file"], spot.key(name))
        return kind.cls(**values)

    def _unknown(self, key: object, spot: Spot, fields: Mapping[str, Field]) -> None:
        hint = did_you_mean(key, fields) if len(self.problems) < ENOUGH_HINTS else ""
        if not hint and isinstance(key, str) and key in self._homes:
            hint = f'; did you mean "{self._homes[key]}"?'
        # What stands there is not shown: it may be a secret under a misspelt name.
        self.problems.append(f"{spot.key(key).label()}: unknown key{hint}")

    def _field(self, field: Field, raw: Mapping[object, object], spot: Spot) -> Any:
        here = msgspec.structs.replace(spot.key(field.encode_name), hidden=bears_secret(field.type))
        given = raw.get(field.encode_name)
        if field.encode_name not in raw or (_nothing(given) and isinstance(bare(field.type), StructType)):
            if not field.required:
                return default_of(field)
            self._problem(here, f"missing; expected {expectation(field.type)}")
            return placeholder(field.type)
        value = self.value(field.type, given, here, {})
        if isinstance(value, Broken):
            return placeholder(field.type) if field.required else default_of(field)
        return value

    def _list(self, kind: VarTupleType, raw: object, spot: Spot) -> Any:
        if not isinstance(raw, list):
            return self._wrong(raw, spot, "a list")
        if len(raw) > MOST_ITEMS:
            return self._problem(spot, f"has {len(raw)} entries, expected at most {MOST_ITEMS}")
        values = [self.value(kind.item_type, item, spot.item(i), {}) for i, item in enumerate(raw)]
        return tuple(value for value in values if not isinstance(value, Broken))

    def _map(self, kind: DictType, raw: object, spot: Spot) -> Any:
        if not isinstance(raw, dict):
            return self._wrong(raw, spot, "a mapping")
        if len(raw) > MOST_ITEMS:
            return self._problem(spot, f"has {len(raw)} entries, expected at most {MOST_ITEMS}")
        result: dict[Any, Any] = {}
        for raw_key, item in raw.items():
            key = self._key(kind.key_type, raw_key, spot)
            value = self.value(kind.value_type, item, spot.key(raw_key), {})
            if isinstance(key, Broken):
                continue
            if key in result:
                self._problem(spot.key(raw_key), "given twice, as a number and as a text; keep one")
            elif not isinstance(value, Broken):
                result[key] = value
        return result

    def _key(self, kind: Type, raw: object, spot: Spot) -> Any:
        if isinstance(bare(kind), IntType) and isinstance(raw, str) and _INTEGER.fullmatch(raw):
            raw = int(raw)
        trial = Walk({}, self._folder)
        key = trial.value(
            kind, raw.replace("${", "$${") if isinstance(raw, str) else raw, Spot("the key"), {}
        )
        for problem in trial.problems:
            self._problem(spot.key(raw), f"as a key, {problem.removeprefix('the key: ')}")
        return key

    # Single values --------------------------------------------------------------------------------------

    def _number(self, kind: IntType | FloatType, raw: object, spot: Spot, hints: Mapping[str, Any]) -> Any:
        expected = hints.get("expects") or ("a whole number" if isinstance(kind, IntType) else "a number")
        whole = isinstance(raw, int) and not isinstance(raw, bool)
        if not whole and not (isinstance(kind, FloatType) and isinstance(raw, float) and math.isfinite(raw)):
            return self._wrong(raw, spot, f"{expected}{_instead(raw, spot)}")
        number: Any = raw
        if (kind.ge is not None and number < kind.ge) or (kind.gt is not None and number <= kind.gt):
            return self._wrong(raw, spot, expected)
        if kind.le is not None and number > kind.le:
            return self._wrong(
                raw, spot, expected if str(kind.le) in expected else f"{expected}, at most {kind.le}"
            )
        return float(number) if isinstance(kind, FloatType) else number

    def _expanded(self, raw: object, spot: Spot, expected: str) -> Any:
        if not isinstance(raw, str):
            return self._wrong(raw, spot, expected)
        text, problem = expand(raw, self._environ)
        if problem:
            return self._problem(spot, problem)
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            return self._problem(spot, "expected a text without NUL and lone surrogates")
        return text

    def _text(self, kind: StrType | LiteralType, raw: object, spot: Spot, hints: Mapping[str, Any]) -> Any:
        text = self._expanded(raw, spot, hints.get("expects") or expectation(kind))
        if isinstance(text, Broken):
            return BROKEN
        check = hints.get("check")
        expected = check(text) if check else None
        if isinstance(kind, LiteralType):
            expected = one_of([str(word) for word in kind.values], text)
        if expected:
            # As written, for what a variable holds may be a secret; so may what stands before the @ of a URL.
            shy = isinstance(raw, str) and "@" in raw and "://" in raw
            return self._wrong(raw, msgspec.structs.replace(spot, hidden=spot.hidden or shy), expected)
        return self._path(text, spot, hints["path"]) if "path" in hints else text

    def _path(self, text: str, spot: Spot, use: str) -> Any:
        path = self._folder / text
        fault = file_problem(path) if use == "file" else None
        if fault:
            got = "" if spot.hidden else f"got {show(text)}, "
            return self._problem(spot, f"{got}{fault}; expected the path of a readable file")
        return str(path)

    def _secret(self, raw: object, spot: Spot) -> Any:
        if raw is None:
            return Secret()
        spot = msgspec.structs.replace(spot, hidden=True)
        text = self._expanded(raw, spot, 'a text (a key of digits alone needs quotes: "123")')
        if isinstance(text, Broken):
            return BROKEN
        return self._usable(text, spot)

    def _usable(self, text: str, spot: Spot) -> Any:
        if not all("!" <= character <= "~" for character in text):
            return self._problem(spot, "expected a secret of printable ASCII characters without blanks")
        return Secret(text)

    def _from_file(self, given: Any, path: str | None, spot: Spot) -> Any:
        """A secret, or several, which the file holds one a line."""
        if f"{spot.path}_file" in self.broken:
            self.broken.add(spot.path)
        if path is None:
            return given
        if given:
            self._problem(spot, f"given here and in {spot.path}_file; keep one")
            return given
        text, fault = read_secret(Path(path))
        file = Spot(f"{spot.path}_file")
        if fault:
            values: list[Any] = [self._problem(file, fault)]
        else:
            values = [
                self._usable(one, file) for one in (text.split() if isinstance(given, tuple) else [text])
            ]
        if any(isinstance(value, Broken) for value in values):
            self.broken.add(spot.path)
            return given
        return tuple(values) if isinstance(given, tuple) else values[0]


def _wanted(override: Override, kind: Type) -> object:
    plain = bare(kind)
    if isinstance(plain, CustomType):
        return override.as_secret()
    return override.as_text() if isinstance(plain, StrType | LiteralType) else override.value


def _nothing(given: object) -> bool:
    return given is None or (isinstance(given, Override) and given.value is None)


def _instead(raw: object, spot: Spot) -> str:
    """What to do where `${NAME}` stands for something else than a text."""
    if not (isinstance(raw, str) and "${" in raw):
        return ""
    variable = PREFIX + spot.path.upper().replace(".", "__")
    return f"; only texts may be ${{NAME}}{'' if '[' in variable else f': set {variable} in its place'}"
