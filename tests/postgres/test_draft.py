"""The draft of the next revision."""

import pytest

from tradepipe.errors import ConfigurationError
from tradepipe.postgres.draft import Column, Difference, Shape, draft_revision

VENUE = Column("text", True, "'OTC'::text", "C")
BEFORE = Shape({"trade_id": Column("text", True, None, "C")}, {}, "PRIMARY KEY (trade_id)", ("trade_id",), " SELECT 1")
AFTER = BEFORE._replace(
    columns=BEFORE.columns | {"venue": VENUE},
    checks={"VENUE": "CHECK (venue ~ '^[!-\\\\[]+$'::text)"},
    view_columns=("trade_id", "venue"),
    view=" SELECT 2",
)


def drafted(after, number=4):
    return draft_revision(Difference(BEFORE, after), number, "0003_pre_x")


def test_a_new_column_is_added_with_its_check_and_the_view_before_the_sinks_are_upgraded():
    name, text = drafted(AFTER)

    assert "0004_pre_add_venue" == name
    compile(text, name, "exec")
    statements = [
        "ADD COLUMN IF NOT EXISTS venue text COLLATE \"C\" NOT NULL DEFAULT 'OTC'::text",
        "ADD CONSTRAINT \"VENUE\" CHECK (venue ~ '^[!-\\\\\\\\[]+$'::text) NOT VALID",
        "CREATE OR REPLACE VIEW current_trades AS",
        "with op.get_context().autocommit_block():",
        'ALTER TABLE trades VALIDATE CONSTRAINT "VENUE"',
        "DROP VIEW current_trades",
        "DROP COLUMN venue",
        "CREATE VIEW current_trades AS",
    ]
    places = [text.find(each) for each in statements]
    assert -1 not in places, statements[places.index(-1)]
    assert sorted(places) == places


def test_what_breaks_sinks_of_the_previous_release_is_a_post_revision():
    dropped, _ = drafted(BEFORE._replace(columns={}))
    other_key, text = drafted(AFTER._replace(primary_key="PRIMARY KEY (trade_id, venue)"))

    assert ("0004_post_drop_trade_id", "0004_post_add_venue") == (dropped, other_key)
    assert "DROP CONSTRAINT trades_pkey" in text
    assert "stop them first" in text


def test_a_required_field_without_a_default_is_refused_with_what_to_do():
    after = AFTER._replace(columns=BEFORE.columns | {"venue": VENUE._replace(default=None)})

    with pytest.raises(ConfigurationError, match="venue has no default, but stored trades need a value: give it one"):
        drafted(after)


def test_a_column_of_another_type_is_altered_without_the_view_that_shows_it():
    wider = BEFORE._replace(columns={"trade_id": Column("numeric(20,4)", True, None, None)})

    name, text = drafted(wider)
    assert "0004_pre_alter_trade_id" == name
    upgrade, _, downgrade = text.partition("def downgrade")
    for each, type_ in ((upgrade, "numeric(20,4)"), (downgrade, "text")):
        places = [each.find(step) for step in ("DROP VIEW", f"ALTER COLUMN trade_id TYPE {type_}", "current_trades AS")]
        assert -1 not in places
        assert sorted(places) == places
