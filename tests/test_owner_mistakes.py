"""Mistakes of a schema owner: each is one sentence that says what to do."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest
from annotated_types import Ge, Gt, Le

from tests.cli.commands import Done, run_command
from tradepipe.errors import ConfigurationError
from tradepipe.evolution.freeze import draft_schema
from tradepipe.evolution.history import current
from tradepipe.postgres.draft import Column, Difference, Shape, draft_revision
from tradepipe.postgres.tables import TRADES, require_free_names
from tradepipe.trade.constraints import Digits, Identifier, Key, NotBefore, PartitionKey, Pattern, Together
from tradepipe.trade.declaration import Declaration, Field, declare
from tradepipe.trade.model import DECLARATION
from tradepipe.trade.types import Avro, read_annotation

Name = Annotated[str, Key(), PartitionKey()]


class TwoSides(StrEnum):
    UNKNOWN = "UNKNOWN"
    BUY = "BUY"


def with_field(
    annotation: Any, default: Any = ..., *, key: Any = Name, name: str = "other"
) -> Callable[[], Declaration]:
    """Declare a record with one more field."""

    def make() -> Declaration:
        record = NamedTuple("Trade", [("id", key), (name, annotation)])  # type: ignore[misc]  # what each case declares
        if default is not ...:
            record._field_defaults[name] = default
        return declare(record)

    return make


class NoKey(NamedTuple):
    id: Annotated[str, Identifier()]


class Plain(NamedTuple):
    id: Name
    day: date
    at: datetime | None = None
    number: int | None = None


class Leg(NamedTuple):
    rate: Annotated[int, Ge(1)]


class Node(NamedTuple):
    next: "Node | None"


class Codes(StrEnum):
    SELL_SHORT = "SELL-SHORT"


@dataclass
class Data:
    id: Name


def with_rules(*rules: Any) -> Callable[[], Declaration]:
    return lambda: declare(Plain, rules)


DECLARED = {
    "no primary key": (lambda: declare(NoKey), "has no primary key: annotate at least one field with Key()"),
    "a class instead of an annotation": (with_field(Annotated[str, Identifier], ...), "write Identifier()"),
    "a constraint of another type": (with_field(Annotated[str, Ge(1)], ...), "which does not apply to str: use"),
    "an unsupported type": (with_field(complex, ...), "which is not supported: use one of"),
    "a decimal without a size": (with_field(Decimal, ...), "annotate it with Digits(precision, scale)"),
    "a key that may be missing": (with_field(Annotated[str | None, Key()], None), "remove None from its type"),
    "a default that breaks a constraint": (with_field(Annotated[int, Ge(1)], 0), "has the default 0, which is less"),
    "a default of another type": (with_field(int, "x"), "has the default 'x', which is not an int"),
    "a rule that names no field": (
        lambda: declare(Plain, [NotBefore("day", "created")]),
        "names created, which is not a field of Plain",
    ),
    "a rule of other types": (lambda: declare(Plain, [NotBefore("day", "id")]), "which is not a date or datetime"),
    "another kind of class": (lambda: declare(Data), "is not a NamedTuple: declare the record as one"),
    "no Kafka key": (with_field(int, key=Annotated[str, Key()]), "annotate exactly one field of the primary key with"),
    "two Kafka keys": (with_field(Name), "with PartitionKey(), not id and other"),
    "a Kafka key that is a number": (
        with_field(str, key=Annotated[int, Key(), PartitionKey()]),
        "is the Kafka key, so it must be a str, not int",
    ),
    "a list as a key": (with_field(Annotated[list[str], Key()]), "use fields of its values instead"),
    "an annotation that is a text": (with_field(Annotated[int, "positive"]), "which does not apply to int: use Key"),
    "an expression that PostgreSQL reads differently": (
        with_field(Annotated[str, Pattern(r"\d{4}")]),
        "use characters, classes, ranges and counts",
    ),
    "an invalid expression": (with_field(Annotated[str, Pattern("[A")]), "is not a regular expression"),
    "more decimals than digits": (
        with_field(Annotated[Decimal, Digits(4, 18)]),
        "a precision is from 1 to 1000, a scale from 0 to the precision",
    ),
    "an Avro type of another class": (with_field(Annotated[datetime, Avro("time-millis")]), "use timestamp-micros"),
    "a fixed without a size": (with_field(Annotated[bytes, Avro("fixed")]), 'write Avro("fixed", 16), with its size'),
    "one of two types": (with_field(int | str), "which is not supported: use one of"),
    "a map of numbers": (with_field(dict[int, str]), "the keys of a map are strings: use dict[str, ...]"),
    "a symbol that Avro lacks": (with_field(Codes), "which Avro does not allow: use letters and digits"),
    "a constraint within a record": (with_field(list[Leg]), "use a rule in Python instead"),
    "a record within itself": (with_field(Node), "has the type Node, which holds itself"),
    "a name that Avro lacks": (with_field(int, name="prix_é"), "use ASCII letters, digits and underscores"),
    "a name that PostgreSQL cuts": (with_field(int, name="a" * 64), "of 63 characters: choose a shorter name"),
    "names that differ in capitals": (with_field(int, name="Id"), "has the violation code of id: choose another name"),
    "the name of another column": (
        lambda: require_free_names(with_field(int, name="source_offset")(), [each.name for each in TRADES.columns]),
        "has the name of a column that tradepipe fills: choose another name",
    ),
    "a default without a time zone": (with_field(datetime, datetime(2025, 1, 1)), "which has no time zone"),
    "a default of None": (with_field(int, None), "has the default None: add None to its type"),
    "limits that contradict each other": (
        with_field(Annotated[int, Ge(5), Le(1)]),
        "is annotated with Ge(ge=5) and Le(le=1), which no value satisfies: change one",
    ),
    "limits that meet and are excluded": (
        with_field(Annotated[int, Gt(5), Le(5)]),
        "which no value satisfies: change one",
    ),
    "a limit of another type": (with_field(Annotated[int, Ge("1")]), "whose limit is not an int"),
    "a rule about a required field": (
        with_rules(Together("at", "day")),
        "names day, which is never missing: add None to its type",
    ),
    "a rule of a time and a date": (with_rules(NotBefore("at", "day")), "give both the same type"),
    "a rule of one field": (with_rules(Together("at")), "relates a field to itself: name another one"),
    "a rule twice": (with_rules(Together("at", "number"), Together("at", "number")), "is declared twice: remove one"),
    "a rule that is a name": (with_rules("together"), "is not a rule: use NotBefore or Together"),
}
"""Mistakes in the declaration: errors when it is imported."""


@pytest.mark.parametrize(("make", "message"), DECLARED.values(), ids=DECLARED)
def test_a_mistake_in_the_declaration_is_one_sentence_at_import(make, message):
    with pytest.raises(TypeError, match=re.escape(message)) as raised:
        make()

    assert "\n" not in str(raised.value)


def field(name: str, hint: Any, default: Any) -> Field:
    read = read_annotation(name, hint)
    return Field(name, read.type, read.is_nullable, default, (), False, False)


def replaced(name: str, new: Field) -> tuple[Field, ...]:
    return tuple(new if each.name == name else each for each in DECLARATION.fields)


REQUIRED = DECLARATION.fields[0].default
DRAFTED = {
    "a field without a default": (
        (*DECLARATION.fields, field("venue", str, REQUIRED)),
        "give the field a default",
    ),
    "a renamed field": (
        replaced("book_id", field("portfolio_id", str, REQUIRED)),
        "keep the field: a field without a default must not be removed or renamed",
    ),
    "a removed field without a default": (
        tuple(each for each in DECLARATION.fields if each.name != "book_id"),
        "keep the field",
    ),
    "another type": (replaced("version", field("version", str, REQUIRED)), "add a new field"),
    "another scale": (
        replaced("notional", field("notional", Annotated[Decimal, Digits(18, 6)] | None, None)),
        "keep the scale, and add a new field with the other scale",
    ),
    "a removed symbol": (
        replaced("side", field("side", TwoSides, TwoSides.UNKNOWN)),
        "keep",
    ),
}
"""Mistakes that only the history shows: findings of `schema check`, and no freeze."""


@pytest.mark.parametrize(("fields", "advice"), DRAFTED.values(), ids=DRAFTED)
def test_an_incompatible_draft_is_a_finding_with_what_to_do_instead(fields, advice, tmp_path):
    file = tmp_path / "trade.avsc"
    file.write_text(draft_schema(current().text, DECLARATION._replace(fields=fields)))

    done = run_command("schema", "check", str(file), "--strict", env={})
    assert 1 == done.code
    assert advice in " ".join(done.out.split()), done.out


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A repository with the history of this build."""
    source = Path(__file__).parents[1]
    for name in ("schemas/trade", "migrations/versions"):
        (tmp_path / name).mkdir(parents=True)
        for file in (source / name).glob("*.*"):
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def freeze(repository: Path, *arguments: str, draft: str | None = None) -> Done:
    if draft is not None:
        (repository / "trade.avsc").write_text(draft)
    return run_command("schema", "freeze", *arguments, "--history", "schemas/trade", env={})


def with_venue() -> str:
    return draft_schema(current().text, DECLARATION._replace(fields=(*DECLARATION.fields, field("venue", str, "OTC"))))


def change_released(repository: Path) -> Done:
    file = repository / "schemas" / "trade" / "v001.avsc"
    file.write_text(file.read_text().replace('"int"', '"long"', 1))
    return run_command("schema", "check", "--history", "schemas/trade", env={})


def remove_released(repository: Path) -> Done:
    (repository / "schemas" / "trade" / "v001.avsc").unlink()
    return run_command("schema", "check", "--history", "schemas/trade", env={})


def add_by_hand(repository: Path) -> Done:
    (repository / "schemas" / "trade" / "v003.avsc").write_text(with_venue())
    return run_command("schema", "check", "--history", "schemas/trade", env={})


RELEASED = {
    "a forgotten revision": (
        lambda it: freeze(it, "trade.avsc", draft=with_venue()),
        "no revision after 0002_pre_add_notional makes the column venue: write it first, with: tradepipe migrate draft",
    ),
    "a revision that does not exist": (
        lambda it: freeze(it, "trade.avsc", "--alembic-revision", "0009_pre_add_venue", draft=with_venue()),
        "write it first, with: tradepipe migrate draft",
    ),
    "a version that is released": (
        lambda it: freeze(it, "trade.avsc", draft=current().text),
        "trade.avsc is already version 2",
    ),
    "nothing declared": (freeze, "nothing to draft: version 2 is what trade/model.py declares"),
    "a changed released file": (change_released, "run `schema freeze COPY`"),
    "a removed released file": (remove_released, "Restore v001.avsc from version control"),
    "a file that was not frozen": (add_by_hand, "run `schema freeze` on it"),
}
"""Mistakes in a release."""


@pytest.mark.parametrize(("act", "message"), RELEASED.values(), ids=RELEASED)
def test_a_mistake_in_a_release_is_one_sentence_with_the_command(act, message, repository):
    done = act(repository)

    assert done.code in (1, 2)
    assert message.lower() in " ".join((done.out + done.err).split()).lower(), done.out + done.err


def test_a_required_column_without_a_default_is_refused_by_the_draft_of_a_revision():
    before = Shape({}, {}, "PRIMARY KEY (trade_id)", (), "")
    after = before._replace(columns={"venue": Column("text", True, None, None)})

    with pytest.raises(ConfigurationError, match="venue has no default, but stored trades need a value: give it one"):
        draft_revision(Difference(before, after), 4, "0003_pre_x")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"checks": {"VERSION": "CHECK (version >= 2)"}}, "0004_pre_check_version"),
        ({"primary_key": "PRIMARY KEY (trade_id, version, venue)"}, "0004_post_change_trades"),
    ],
    ids=["a narrowed constraint", "another key column"],
)
def test_a_change_of_the_table_alone_is_a_revision_too(change, name):
    """`tests/test_schema_sync.py` says that it is missing, and names the command that writes it."""
    before = Shape({}, {"VERSION": "CHECK (version >= 1)"}, "PRIMARY KEY (trade_id, version)", (), "")

    drafted, text = draft_revision(Difference(before, before._replace(**change)), 4, "0003_pre_x")
    assert name == drafted
    compile(text, name, "exec")


def test_fifty_mistakes_are_tested():
    assert 50 <= len(DECLARED) + len(DRAFTED) + len(RELEASED) + 3
