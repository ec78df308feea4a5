"""Names of topics, groups, subjects and clients."""

import doctest

import pytest

from tradepipe import ConfigurationError, Producer, SchemaRegistry, Sink, TradeDeserializer, TradeSerializer, Validator
from tradepipe import names as module
from tradepipe.names import find_name_problem, find_topic_problem

KAFKA = {"bootstrap.servers": "127.0.0.1:1"}
REGISTRY = "http://127.0.0.1:1"
DATABASE = "postgresql://127.0.0.1:1/trades"


def test_the_examples_in_the_docstrings_hold():
    assert 0 == doctest.testmod(module).failed


@pytest.mark.parametrize("name", ["trades", "Trades.v1_a-b", "t" * 249, "..."])
def test_kafkas_topic_names_are_accepted(name):
    assert None is find_topic_problem(name)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        (" ", "is blank"),
        ("t" * 250, "is 250 characters long, at most 249 are allowed"),
        ("..", "is not allowed as the name of a topic"),
        ("trädes", "has 'ä' at position 3"),
        ("a/b", "has '/' at position 2"),
        (None, "is not a string"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_any_other_topic_name_is_reported(name, problem):
    assert find_topic_problem(name).startswith(problem)


@pytest.mark.parametrize("name", ["tradepipe-sink", "my group", "ünïcode", "g" * 255])
def test_other_names_may_have_any_printable_characters(name):
    assert None is find_name_problem(name)


@pytest.mark.parametrize("name", ["", "\t", " a", "a\n", "a\0b", "g" * 256, b"group"], ids=lambda name: repr(name)[:20])
def test_a_name_that_would_be_lost_or_cut_is_reported(name):
    assert find_name_problem(name)


@pytest.mark.parametrize(
    ("create", "argument"),
    [
        (lambda: Sink(KAFKA, registry=REGISTRY, database=DATABASE, topic="trades", group=""), "group"),
        (lambda: Sink(KAFKA, registry=REGISTRY, database=DATABASE, topic="my topic"), "topic"),
        (lambda: Sink({**KAFKA, "client.id": ""}, registry=REGISTRY, database=DATABASE, topic="trades"), "client.id"),
        (lambda: Sink(KAFKA, registry=REGISTRY, database=DATABASE, topic="trades", subject=" "), "subject"),
        (lambda: Validator(KAFKA, registry=REGISTRY, group=" "), "group"),
        (lambda: Validator(KAFKA, registry=REGISTRY, clean=""), "clean"),
        (lambda: Validator(KAFKA, registry=REGISTRY, dead_letters="a b"), "dead_letters"),
        (lambda: Validator(KAFKA, registry=REGISTRY, transactional_id="\n"), "transactional_id"),
        (lambda: Producer(KAFKA, registry=REGISTRY, topic=""), "topic"),
        (lambda: Producer(KAFKA, registry=REGISTRY, subject=""), "subject"),
        (lambda: TradeSerializer(SchemaRegistry(REGISTRY), subject=""), "subject"),
        (lambda: TradeDeserializer(SchemaRegistry(REGISTRY), subject=""), "subject"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unusable_name_is_an_error_at_construction(create, argument):
    with pytest.raises(ConfigurationError, match=f"^{argument}="):
        create()


def test_a_broker_is_not_a_url():
    with pytest.raises(
        ConfigurationError, match=r"a URL with the scheme http://, but brokers are HOST:PORT: give kafka:1"
    ):
        Producer({"bootstrap.servers": "http://kafka:1"}, registry=REGISTRY)
