"""Whether a schema may follow others, as an assertion."""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from itertools import count
from textwrap import fill
from typing import TYPE_CHECKING, Final

from tradepipe.contract.history import History

if TYPE_CHECKING:
    from tradepipe.contract.finding import Finding

Schema = Mapping[str, object] | str | Traversable
"""A schema as JSON, as text, or as a file: a `Path`, or what `importlib.resources` gives."""

_WIDTH: Final = 100


def assert_compatible(old: Schema | Sequence[Schema], new: Schema, *, level: str = "FULL_TRANSITIVE") -> None:
    """
    Assert that a schema may follow one or more others.

    It says what `tradepipe schema check` would, logical types included, which
    no registry looks at. What some registry alone would refuse does not fail.

    Args:
        old: the schema that is there already, or several of them, the oldest
            first. A path may be a file, or a folder with `v001.avsc`,
            `v002.avsc` and so on, which stands for all of them.

        new: the schema to follow; a folder stands for its newest.

        level: one of the registry's compatibility levels. BACKWARD: who knows
            the new one can read what the old one wrote; FORWARD: the other way
            round; FULL: both; with `_TRANSITIVE`: not only beside the last of `old`.

    Raises:
        AssertionError: it may not; the message says what breaks, and where.

        ValueError: something is no Avro schema, or `level` is no level.
    """
    __tracebackhide__ = True
    # Loaded here: they bring in avro.
    from tradepipe.contract.compatibility import Level, parse  # noqa: PLC0415
    from tradepipe.contract.evolution import Numbered, findings  # noqa: PLC0415
    from tradepipe.contract.finding import errors  # noqa: PLC0415

    history = [text for each in _several(old) for text in _texts(each)]
    newest = _texts(new)[-1]
    for text in (*history, newest):
        parse(text)
    breaks = errors(findings(newest, list(map(Numbered, count(1), history)), Level(level)))
    if breaks:
        raise AssertionError(f"the schema is not {level} compatible:\n\n" + "\n\n".join(_told(breaks)))


def _told(breaks: "Sequence[Finding]") -> Iterator[str]:
    # Loaded here: it brings in avro.
    from tradepipe.contract.finding import told  # noqa: PLC0415

    for finding, below in told((each.path, each) for each in breaks):
        sentence = fill(finding.sentence, _WIDTH, break_long_words=False, break_on_hyphens=False)
        yield "\n".join([sentence, *(f"  {line}" for line in below)])


def _several(old: Schema | Sequence[Schema]) -> Sequence[Schema]:
    return old if isinstance(old, Sequence) and not isinstance(old, str) else [old]


def _texts(schema: Schema) -> list[str]:
    """The text of a schema; of a folder all its versions, the oldest first."""
    if isinstance(schema, Mapping):
        return [json.dumps(schema)]
    if isinstance(schema, str):
        return [schema]
    if not schema.is_dir():
        return [schema.read_text("utf-8")]
    versions = History.load(schema).versions
    if not versions:
        raise ValueError(f"{schema} holds no v001.avsc, so it is no history of schemas")
    return [version.text for version in versions]
