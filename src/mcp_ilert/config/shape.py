"""What the model's types say of a key: its default, its words, whether a secret has its place there."""

from typing import Any

from msgspec import NODEFAULT
from msgspec.inspect import (
    AnyType,
    CustomType,
    DictType,
    Field,
    FloatType,
    IntType,
    LiteralType,
    Metadata,
    NoneType,
    StrType,
    StructType,
    Type,
    UnionType,
    VarTupleType,
)


def bare(kind: Type) -> Type:
    """The kind without its description, and without null where there is one other."""
    if isinstance(kind, Metadata):
        return bare(kind.type)
    if isinstance(kind, UnionType):
        others = [one for one in kind.types if not isinstance(one, NoneType)]
        return bare(others[0])
    return kind


def expectation(kind: Type) -> str:
    """What a value of this kind is, in words."""
    if isinstance(kind, Metadata) and (kind.extra or {}).get("expects"):
        return str((kind.extra or {})["expects"])
    plain = bare(kind)
    if isinstance(kind, Metadata) and kind.type is not plain:
        return expectation(kind.type)
    if isinstance(plain, LiteralType):
        return f"one of {', '.join(str(word) for word in plain.values)}"
    words: dict[type, str] = {StrType: "a text", IntType: "a whole number", FloatType: "a number"}
    return words.get(type(plain), "a value")


def default_of(field: Field) -> Any:
    return field.default if field.default is not NODEFAULT else field.default_factory()


def placeholder(kind: Type) -> Any:
    """A harmless value of this kind, in place of one that is broken."""
    match bare(kind):
        case StructType() as struct:
            return struct.cls(
                **{field.name: placeholder(field.type) for field in struct.fields if field.required}
            )
        case LiteralType(values=values):
            return values[0]
        case IntType():
            return 0
    return ""


def bears_secret(kind: Type) -> bool:
    """Whether a secret has its place in a value of this kind, so that the value is never shown."""
    match bare(kind):
        case CustomType() | AnyType():
            return True
        case StructType(fields=fields):
            return any(bears_secret(field.type) for field in fields)
        case VarTupleType(item_type=item):
            return bears_secret(item)
        case DictType(value_type=item):
            return bears_secret(item)
    return False


def not_null(kind: UnionType) -> Type:
    return next(one for one in kind.types if not isinstance(one, NoneType))
