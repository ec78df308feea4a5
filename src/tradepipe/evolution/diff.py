"""Changes between two schemas, in words, and their effect on readers."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from tradepipe.evolution.compatibility import Direction, Level
from tradepipe.evolution.compatibility_rules import VersionedSchema, check_evolution
from tradepipe.evolution.findings import Finding, Severity
from tradepipe.evolution.schema_tree import SchemaField, SchemaType, parse_schema_tree


class Kind(StrEnum):
    """Kind of a change; the names are stable."""

    TYPE = "type"
    NAME = "name"
    SIZE = "size"
    DOC = "doc"
    ALIASES = "aliases"
    SYMBOLS_ADDED = "symbols-added"
    SYMBOLS_REMOVED = "symbols-removed"
    SYMBOL_ORDER = "symbol-order"
    ENUM_DEFAULT = "enum-default"
    FIELD_ADDED = "field-added"
    FIELD_REMOVED = "field-removed"
    FIELD_RENAMED = "field-renamed"
    FIELD_ORDER = "field-order"
    DEFAULT = "default"
    SORT_ORDER = "sort-order"


class Effect(NamedTuple):
    """Effect of a change on the readers of one schema; `severity` is None if nothing breaks."""

    direction: Direction
    severity: Severity | None
    message: str


class Change(NamedTuple):
    """
    One change, and its effects in both directions.

    Attributes:
        effects: empty if another change at the same location has them.

        findings: findings that explain the effects that have a severity.

        pointer: JSON pointer of the location in the newer schema; of something
            removed, the location of its former parent.
    """

    kind: Kind
    path: str
    message: str
    effects: tuple[Effect, ...]
    findings: tuple[Finding, ...]
    pointer: str


_SAME: Final = "Nothing changes for readers."


class _RawChange(NamedTuple):
    """
    A change without its effects.

    Attributes:
        pointer: JSON pointer of its location.

        ok_text: effects if nothing breaks, on new and on old readers.

        old_path: its former path, if it was renamed.
    """

    kind: Kind
    pointer: str
    path: str
    message: str
    ok_text: tuple[str, str] = (_SAME, _SAME)
    old_path: str = ""


def diff_schemas(old: str, new: str) -> tuple[Change, ...]:
    """Return the changes between two schemas, in the order of the new one; ValueError if one is not of Avro."""
    # At the level FULL: a change is shown with its effect on old and on new readers.
    found = [each._replace(against=None) for each in check_evolution(new, [VersionedSchema(0, old)], Level.FULL)]
    # Compared as trees, not as texts: names are qualified, and white space and the order of keys do not matter.
    changes = tuple(_diff_types(parse_schema_tree(old), parse_schema_tree(new), parse_schema_tree(new).short))
    return tuple(_change(each, changes, found) for each in changes)


def _change(change: _RawChange, changes: Sequence[_RawChange], found: Sequence[Finding]) -> Change:
    """Add the effects and the findings; the first change at a location has them."""
    here = tuple(each for each in found if _owner(each.path, changes) == change.path)
    # A field that was renamed and got another default are two changes at one path: the findings are shown once.
    is_first = change == next(each for each in changes if each.path == change.path)
    effects: list[Effect] = []
    if is_first or not here:
        for direction, ok_text in zip(Direction, change.ok_text, strict=True):
            bad = [Effect(direction, each.severity, each.message) for each in here if each.direction is direction]
            # A direction without findings has a harmless effect.
            effects += bad or [Effect(direction, None, ok_text)]
    return Change(change.kind, change.path, change.message, tuple(effects), here if is_first else (), change.pointer)


def _owner(path: str, changes: Sequence[_RawChange]) -> str:
    """Return the path of the change that a finding belongs to: the nearest at or above the finding."""
    # By both paths: findings about old readers name the field as it was called.
    places = {location: each.path for each in changes for location in (each.path, each.old_path or each.path)}
    above = [each for each in places if path == each or (path.startswith(each) and path[len(each)] in ".[{(")]
    return places.get(max(above, key=len, default=""), "")


def _changed(
    kind: Kind, new: SchemaType | SchemaField, path: str, *, what: str, values: tuple[object, object]
) -> Iterator[_RawChange]:
    """Yield a change from one attribute to another, unless they are equal."""
    before, after = values
    if before != after:
        yield _RawChange(kind, new.pointer, path, f"The {what} changed from {before} to {after}.")


def _diff_types(old: SchemaType, new: SchemaType, path: str) -> Iterator[_RawChange]:
    if old.kind != new.kind or (old.kind == "union" and _labels(old) != _labels(new)):
        yield _RawChange(Kind.TYPE, new.pointer, path, f"The type changed from {old} to {new}.")
    elif old.kind == "union":
        for before, after in zip(_by_label(old), _by_label(new), strict=True):
            piece = f"({after.short or after.kind})" if len(new.branches) > 2 else ""
            yield from _diff_types(before, after, path + piece)
    else:
        yield from _changed(Kind.NAME, new, path, what="name", values=(old.name, new.name))
        if old.logical != new.logical:
            yield from _changed(Kind.TYPE, new, path, what="type", values=(old, new))
        if old.size != new.size:
            yield from _changed(Kind.SIZE, new, path, what="size", values=(old.size, f"{new.size} bytes"))
        if old.doc != new.doc:
            yield _RawChange(Kind.DOC, new.pointer, path, "The doc changed.")
        yield from _diff_aliases(old, new, path)
        if old.inner:
            yield from _diff_types(old.inner[0], new.inner[0], path + ("[]" if old.kind == "array" else "{}"))
        yield from _diff_enums(old, new, path)
        yield from _diff_fields(old, new, path)


def _diff_aliases(old: SchemaType | SchemaField, new: SchemaType | SchemaField, path: str) -> Iterator[_RawChange]:
    # Their order does not matter.
    if set(old.aliases) != set(new.aliases):
        yield from _changed(Kind.ALIASES, new, path, what="aliases", values=(_list(old.aliases), _list(new.aliases)))


def _diff_enums(old: SchemaType, new: SchemaType, path: str) -> Iterator[_RawChange]:
    added = [symbol for symbol in new.symbols if symbol not in old.symbols]
    removed = [symbol for symbol in old.symbols if symbol not in new.symbols]
    if added:
        ok_text = _SAME, f"Readers read {old.default} for these symbols."
        yield _RawChange(Kind.SYMBOLS_ADDED, new.pointer, path, f"The enum gained the symbols {_list(added)}.", ok_text)
    if removed:
        ok_text = f"Readers read {new.default} for these symbols.", _SAME
        yield _RawChange(
            Kind.SYMBOLS_REMOVED, new.pointer, path, f"The enum lost the symbols {_list(removed)}.", ok_text
        )
    defaults = old.default or "none", new.default or "none"
    yield from _changed(Kind.ENUM_DEFAULT, new, path, what="enum's default symbol", values=defaults)
    if not added and not removed and old.symbols != new.symbols:
        yield _RawChange(Kind.SYMBOL_ORDER, new.pointer, path, "The symbols are in another order.")


def _diff_fields(old: SchemaType, new: SchemaType, path: str) -> Iterator[_RawChange]:
    before = {field.name: field for field in old.fields}
    before_names, names = [field.name for field in old.fields], [field.name for field in new.fields]
    for field in new.fields:
        # An alias that is another field's name now would take that field's place.
        aliases = [alias for alias in field.aliases if alias not in names]
        earlier = next((name for name in (field.name, *aliases) if name in before), None)
        if earlier is not None:
            # Removed from `before`, where the fields that nothing has taken are the removed ones.
            yield from _diff_field(before.pop(earlier), field, path)
            continue
        default = f", by default {field.default_json}" if field.has_default else " without a default"
        message = f"The field was added: {field.type}{default}."
        ok_text = f"Readers fill it with {field.default_json}.", "Readers ignore it."
        yield _RawChange(Kind.FIELD_ADDED, field.pointer, f"{path}.{field.name}", message, ok_text)
    for field in before.values():
        message = f"The field was removed: {field.type}."
        ok_text = "Readers ignore it.", f"Readers fill it with {field.default_json}."
        yield _RawChange(Kind.FIELD_REMOVED, new.pointer, f"{path}.{field.name}", message, ok_text)
    # Not reported if there are other fields too: every later one has moved then.
    if before_names != names and set(before_names) == set(names):
        yield _RawChange(Kind.FIELD_ORDER, new.pointer, path, "The fields are in another order.")


def _diff_field(old: SchemaField, new: SchemaField, record: str) -> Iterator[_RawChange]:
    path = f"{record}.{new.name}"
    if old.name != new.name:
        yield _RawChange(
            Kind.FIELD_RENAMED, new.pointer, path, f"The field was called {old.name}.", old_path=f"{record}.{old.name}"
        )
    yield from _diff_types(old.type, new.type, path)
    if old.default_json != new.default_json:
        ok_text = f"Readers fill it with {new.default_json} where it is missing.", _SAME
        message = f"The default changed from {old.default_json} to {new.default_json}."
        yield _RawChange(Kind.DEFAULT, new.pointer, path, message, ok_text)
    # The alias of a renamed field is part of the renaming.
    if old.name == new.name:
        yield from _diff_aliases(old, new, path)
    yield from _changed(Kind.SORT_ORDER, new, path, what="sort order", values=(old.order, new.order))
    if old.doc != new.doc:
        yield _RawChange(Kind.DOC, new.pointer, path, "The doc changed.")


def _labels(union: SchemaType) -> list[str]:
    return [branch.short or branch.kind for branch in _by_label(union)]


def _by_label(union: SchemaType) -> list[SchemaType]:
    """Sort a union's branches: their order is not a change."""
    return sorted(union.branches, key=lambda branch: branch.short or branch.kind)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
