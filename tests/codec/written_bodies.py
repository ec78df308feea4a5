"""Strategies of writer schemas that resolve to a declaration's schema, and of bodies written with them."""

from itertools import count
from struct import pack
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.codec.every_type import avro_long, plain, schema_of, write
from tests.trade.all_types import values
from tradepipe.trade.declaration import Declaration
from tradepipe.trade.type_checks import MAX_INT, MAX_LONG, MIN_INT, MIN_LONG
from tradepipe.trade.types import Member, Type

Bytes = st.SearchStrategy[bytes]


class Written(NamedTuple):
    """
    A writer schema of one type: the schema, and strategies of bytes.

    Attributes:
        good: bytes that the reader reads.

        wrong: bytes of branches and symbols that do not resolve to the reader's type; None if there are none.
    """

    schema: Any
    good: Bytes
    wrong: Bytes | None = None


class WrittenRecord(NamedTuple):
    """
    A reader schema with aliases, and a writer schema.

    Attributes:
        bodies: of fields that resolve.

        wrong: bodies with a branch or a symbol that does not; None if the writer has none.
    """

    reader: dict[str, Any]
    writer: dict[str, Any]
    bodies: Bytes
    wrong: Bytes | None


def _sized(content: bytes) -> bytes:
    return avro_long(len(content)) + content


_LEAVES: dict[str, Bytes] = {
    "null": st.just(b""),
    "boolean": st.sampled_from([b"\0", b"\1"]),
    "int": st.integers(MIN_INT, MAX_INT).map(avro_long),
    "long": st.integers(MIN_LONG, MAX_LONG).map(avro_long),
    "float": st.binary(min_size=4, max_size=4),
    "double": st.binary(min_size=8, max_size=8),
    "bytes": st.binary(max_size=70).map(_sized),
    "string": st.text(max_size=70).map(lambda found: _sized(found.encode())),
}

_PROMOTIONS = {
    "long": ("int",),
    "float": ("int", "long"),
    "double": ("int", "long", "float"),
    "string": ("bytes",),
    "bytes": ("string",),
}
"""Avro 1.12, Schema Resolution: what may be written where a type is read."""


@st.composite
def written_records(draw: Any, declaration: Declaration) -> WrittenRecord:
    """Draw a reader schema and a writer schema, and return them with strategies of bodies."""
    reader = schema_of(declaration)
    writer = _Writer(draw).record(reader, tuple(field.member for field in declaration.fields))
    return WrittenRecord(reader, *writer)


class _Writer:
    """One walk over a reader schema; each type is written in another form that resolves to it."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self._numbers = count()
        self._known: dict[str, Written] = {}

    def record(self, node: dict[str, Any], members: tuple[Member, ...]) -> Written:
        """Draw another order of the fields, without some that have defaults and with some that the reader lacks."""
        fields: list[tuple[str, Written]] = []
        for field, member in zip(node["fields"], members, strict=True):
            if "default" in field and self._one_in(4):
                continue
            fields.append((self._name_of(field), self.member(field["type"], member)))
        for _ in range(self._number(0, 2)):
            # At least one byte, since a record may be an item.
            fields.append((f"more{next(self._numbers)}", self.any_type(2, takes_bytes=True)))
        if not fields:
            fields = [(f"more{next(self._numbers)}", self.any_type(0, takes_bytes=True))]
        fields = self._draw(st.permutations(fields))
        schema = {"type": "record", "name": self._type_name(node, True)}
        schema["fields"] = [{"name": name, "type": each.schema} for name, each in fields]
        return _joined(schema, [each for _, each in fields])

    def member(self, node: Any, member: Member) -> Written:
        """Draw a type alone or within a union; null only if the reader has it, or as a branch that does not resolve."""
        inner = next(each for each in node if each != "null") if isinstance(node, list) else node
        if member.is_nullable and member.name and self._one_in(8):
            return Written("null", st.just(b""))
        branches = [self.type(inner, member.type, is_in_union=isinstance(node, list))]
        if self._one_in(2):
            return branches[0]
        more = [each for each in _PROMOTIONS.get(_base(inner), ()) if each != _base(branches[0].schema)]
        branches += [self._promoted(each, member.type) for each in more if self._one_in(2)]
        good = [True] * len(branches)
        if self._one_in(2):
            branches.append(Written("null", st.just(b"")))
            good.append(member.is_nullable)
        for other in ("boolean", "fixed", "array"):
            # Branches of a union have different types.
            if self._one_in(5) and _base(inner) != other:
                branches.append(self._stranger(other))
                good.append(False)
        order = self._draw(st.permutations(range(len(branches))))
        return _union([branches[place] for place in order], [good[place] for place in order])

    def type(self, node: Any, type_: Type, *, is_in_union: bool) -> Written:
        """Draw a type that resolves to a reader's type."""
        if isinstance(node, str) and node in self._known:
            return self._known[node]._replace(schema=self._known[node].schema["name"])
        match type_.kind:
            case "array":
                item = self.member(node["items"], type_.item)
                return Written({"type": "array", "items": item.schema}, *_blocks(item))
            case "map":
                value = self.member(node["values"], type_.item)
                return Written({"type": "map", "values": value.schema}, *_blocks(_with_key(value)))
            case "record":
                found = self.record(node, type_.members)
            case "enum":
                found = self._enum(node, type_, is_in_union)
            case _ if type_.base == "fixed":
                name = self._type_name(node, is_in_union)
                found = self._plain({key: node[key] for key in node if key != "aliases"} | {"name": name}, type_)
            case _:
                written = self._draw(st.sampled_from([_base(node), *_PROMOTIONS.get(_base(node), ())]))
                return self._plain(node, type_) if written == _base(node) else self._promoted(written, type_)
        self._known[node["name"]] = found
        return found

    def any_type(self, depth: int, *, takes_bytes: bool = False) -> Written:
        """Draw any type, for a field that the reader lacks."""
        kinds = [*_LEAVES, "fixed", "enum", *["array", "map", "union", "record"] * (depth > 0)]
        kind = self._draw(st.sampled_from(kinds[takes_bytes:]))
        if kind in _LEAVES:
            return Written(kind, _LEAVES[kind])
        name = f"Other{next(self._numbers)}"
        match kind:
            case "fixed":
                size = self._number(int(takes_bytes), 20)
                return Written({"type": "fixed", "name": name, "size": size}, st.binary(min_size=size, max_size=size))
            case "enum":
                symbols = [f"S{number}" for number in range(self._number(1, 70))]
                indexes = st.integers(0, len(symbols) - 1)
                return Written({"type": "enum", "name": name, "symbols": symbols}, indexes.map(avro_long))
            case "array" | "map":
                item = self.any_type(depth - 1, takes_bytes=True)
                key, found = ("items", item) if kind == "array" else ("values", _with_key(item))
                return Written({"type": kind, key: item.schema}, *_blocks(found))
            case "union":
                drawn = [self.any_type(depth - 1) for _ in range(self._number(1, 4))]
                branches = {_branch_name(each.schema): each for each in drawn if not isinstance(each.schema, list)}
                found = list(branches.values()) or [Written("long", _LEAVES["long"])]
                return _union(found, [True] * len(found))
        inner = [self.any_type(depth - 1, takes_bytes=number == 0) for number in range(self._number(1, 4))]
        fields = [{"name": f"f{number}", "type": each.schema} for number, each in enumerate(inner)]
        return _joined({"type": "record", "name": name, "fields": fields}, inner)

    def _plain(self, node: Any, type_: Type) -> Written:
        """The reader's own type, as fastavro writes it."""
        return Written(node, values(type_).map(lambda value: write(node, plain(type_, value))))

    def _promoted(self, written: str, type_: Type) -> Written:
        """Another type, with values that the reader's type allows."""
        match written, type_.kind:
            case "float", _:
                return Written(written, st.floats(width=32, allow_nan=False, allow_infinity=False).map(_pack_float))
            case "string", "decimal":
                return Written(written, st.text("09Az", min_size=1, max_size=2).map(lambda text: _sized(text.encode())))
            case (("string" | "bytes"), _):
                return Written(written, values(type_).map(lambda value: _sized(_text(value))))
            case _, "time-micros":
                return Written(written, st.integers(0, MAX_INT).map(avro_long))
            case _, kind if kind.endswith("nanos"):
                return Written(written, st.integers(-(2**21), 2**21).map(lambda number: avro_long(number * 1_000)))
        return Written(written, _LEAVES[written])

    def _enum(self, node: dict[str, Any], type_: Type, is_in_union: bool) -> Written:
        symbols = self._draw(st.permutations([*type_.symbols, "MORE"]))[: self._number(1, 70)]
        if self._one_in(4):
            del node["default"]
        known = [index for index, symbol in enumerate(symbols) if symbol in type_.symbols or "default" in node]
        if not known:
            symbols, known = [type_.symbols[0]], [0]
        unknown = [index for index in range(len(symbols)) if index not in known]
        schema = {"type": "enum", "name": self._type_name(node, is_in_union), "symbols": symbols}
        good, wrong = (st.sampled_from(found or [0]).map(avro_long) for found in (known, unknown))
        return Written(schema, good, wrong if unknown else None)

    def _stranger(self, kind: str) -> Written:
        """A type that is not the reader's."""
        if kind == "array":
            return Written({"type": "array", "items": "int"}, *_blocks(Written("int", _LEAVES["int"])))
        if kind == "fixed":
            name = f"Other{next(self._numbers)}"
            return Written({"type": "fixed", "name": name, "size": 1}, st.binary(min_size=1, max_size=1))
        return Written(kind, _LEAVES[kind])

    def _name_of(self, field: dict[str, Any]) -> str:
        """The name of a field, or another one that becomes the reader's alias."""
        if not self._one_in(5):
            return str(field["name"])
        field["aliases"] = [f"unused{next(self._numbers)}", f"former{next(self._numbers)}"]
        return str(field["aliases"][1])

    def _type_name(self, node: dict[str, Any], keeps_namespace: bool) -> str:
        """The name of a type, in another namespace, or another name that becomes the reader's alias."""
        if self._one_in(5):
            node["aliases"] = [f"Former{next(self._numbers)}"]
            return str(node["aliases"][0])
        # A record's namespace is that of the types within it, and aliases are full names. Java compares full names in
        # a union.
        is_moved = not keeps_namespace and self._one_in(5)
        return f"other.{node['name']}" if is_moved else str(node["name"])

    def _one_in(self, number: int) -> bool:
        return bool(self._number(1, number) == number)

    def _number(self, least: int, most: int) -> int:
        return int(self._draw(st.integers(least, most)))


def _pack_float(value: float) -> bytes:
    return pack("<f", value)


def _text(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _base(schema: Any) -> str:
    return schema if isinstance(schema, str) else str(schema["type"])


def _branch_name(schema: Any) -> str:
    return schema if isinstance(schema, str) else str(schema.get("name", schema["type"]))


def _joined(schema: Any, parts: list[Written]) -> Written:
    """Values one after another; a wrong one has one wrong part."""
    wrong = [
        st.tuples(*(part.wrong if number == place else part.good for number, part in enumerate(parts)))
        for place in range(len(parts))
        if parts[place].wrong is not None
    ]
    good = st.tuples(*(part.good for part in parts))
    return Written(schema, good.map(b"".join), st.one_of(*wrong).map(b"".join) if wrong else None)


def _with_key(value: Written) -> Written:
    return _joined(None, [Written("string", st.text("abc", max_size=3).map(lambda text: _sized(text.encode()))), value])


def _union(branches: list[Written], good: list[bool]) -> Written:
    right = [(index, each.good) for index, each in enumerate(branches) if good[index]]
    wrong = [(index, each.wrong if good[index] else each.good) for index, each in enumerate(branches)]
    wrong = [(index, found) for index, found in wrong if found is not None]
    return Written([each.schema for each in branches], _choice(right), _choice(wrong) if wrong else None)


def _choice(branches: list[tuple[int, Bytes]]) -> Bytes:
    return st.one_of(*(each.map(lambda found, index=index: avro_long(index) + found) for index, each in branches))


def _blocks(item: Written) -> tuple[Bytes, Bytes | None]:
    """Blocks of items, with or without their size, and blocks with a wrong item."""
    good = st.lists(_block(item.good), max_size=2).map(_ended)
    if item.wrong is None:
        return good, None
    return good, st.tuples(st.lists(_block(item.good), max_size=1), _block(item.wrong)).map(
        lambda found: _ended([*found[0], found[1]])
    )


def _block(item: Bytes) -> Bytes:
    return st.tuples(st.lists(item, min_size=1, max_size=3), st.booleans()).map(lambda found: _headed(*found))


def _headed(items: list[bytes], is_sized: bool) -> bytes:
    content = b"".join(items)
    return avro_long(-len(items)) + _sized(content) if is_sized else avro_long(len(items)) + content


def _ended(blocks: list[bytes]) -> bytes:
    return b"".join(blocks) + b"\0"
