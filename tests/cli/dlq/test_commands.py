"""`tradepipe dlq` on the table."""

import base64
import json
import re
import signal
import sys
from pathlib import Path

import psycopg2
import pytest

from tests.cli.commands import ask, run_command, running
from tests.cli.pty import at_a_terminal
from tests.cli.shell_words import shell_words
from tests.cli.test_usage_errors import NOWHERE
from tests.eventually import eventually
from tests.postgres.batches import trade
from tradepipe import SchemaRegistry, TradeSerializer
from tradepipe.postgres import refusals
from tradepipe.postgres.session import create_engine_for
from tradepipe.redaction import redact
from tradepipe.trade.record import Record, Refusal, Violation

RULE_OF_YESTERDAY = Violation("STRICT", "a rule that is gone")
OPEN = "SELECT count(*) FROM trade_refusals WHERE replayed_at IS NULL"
TRADES = "SELECT count(*) FROM trades"
TYPED = f"{Path(sys.executable).name} -m tradepipe"
"""How the commands at a terminal are started, and so named in messages."""


@pytest.fixture
def keep(ready):
    """Keep refusals of trades, or of bytes, at the offsets they have in the list."""

    def keep(*given, violation=RULE_OF_YESTERDAY, topic="trades"):
        with SchemaRegistry(ready["SCHEMA_REGISTRY_URL"]) as registry:
            encode = TradeSerializer(registry, subject=ready["TRADEPIPE_SUBJECT"])
            records = [
                Record(topic, 3, offset, b"X1", each)
                if isinstance(each, (bytes, type(None)))
                else Record(topic, 3, offset, each.trade_id.encode(), encode(each))
                for offset, each in enumerate(given)
            ]
        with create_engine_for(ready["DATABASE_URL"], application_name="test").begin() as connection:
            refusals.store(
                connection, [Refusal(each, (violation,), 1) for each in records], group="mine", topic_id="an-id"
            )

    return keep


def dlq(*arguments, env):
    """Such a command, on the table; nothing of it needs Kafka."""
    without = {name: value for name, value in env.items() if not name.startswith(("KAFKA", "TRADEPIPE_KAFKA"))}
    done = run_command("dlq", *arguments, env={"COLUMNS": "80", **without})
    assert "Traceback" not in done.err, done.err
    return done


@pytest.mark.output
def test_refused_records_are_listed_in_80_columns_with_the_newest_last(ready, keep):
    keep(*(trade(f"T{number}") for number in range(3)), b"{}", trade("T" * 64))

    done = dlq("ls", env=ready)

    heading, *lines, last = done.out.splitlines()
    assert ["refused", "at", "(UTC)", "record", "code", "tries", "trade"] == heading.split()
    assert ["trades[3]@0", "trades[3]@1", "trades[3]@2", "trades[3]@3", "trades[3]@4"] == [
        line.split()[2] for line in lines
    ]
    assert lines[2].endswith("STRICT      1  T2 v1")
    assert lines[3].endswith("STRICT      1  X1")
    assert lines[4].endswith("T…")
    assert max(map(len, done.out.splitlines())) <= 80
    assert "5 open dead letters in the table trade_refusals" == last


@pytest.mark.slow
def test_a_wide_terminal_shows_the_whole_trade_id(ready, keep):
    keep(trade("T" * 64))

    seen = at_a_terminal("dlq", "ls", env={**ready, "COLUMNS": "140"})

    assert "T" * 64 + " v1" in "".join(seen.lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["show", "trades[3]@0"], "gone"), (["replay", "--dry-run"], "value")],
    ids=["show", "replay"],
)
def test_a_terminal_gets_reasons_broken_between_words(ready, keep, arguments, word):
    keep(b"{}", violation=Violation("STRICT", "a rule that is gone " * 10))

    seen = at_a_terminal("dlq", *arguments, env={**ready, "COLUMNS": "40"})

    reason = [line for line in seen.lines if word in line]
    assert len(reason) > 1, seen.lines
    assert 40 >= max(map(len, reason))


@pytest.mark.output
def test_the_newest_are_shown_and_the_number_of_all(ready, keep):
    keep(*(trade(f"T{number}") for number in range(30)))

    done = dlq("ls", "--limit", "2", env=ready)

    assert 4 == len(done.out.splitlines())
    assert "trades[3]@29" in done.out.splitlines()[2]
    assert "30 open dead letters in the table trade_refusals, newest 2 shown (--limit)" == done.out.splitlines()[-1]


@pytest.mark.output
@pytest.mark.parametrize(
    ("arguments", "offsets"),
    [
        ("--trade-id T1", [1]),
        ("--trade-id X1", [3]),
        ("--offsets 1-2", [1, 2]),
        ("--offsets 2-", [2, 3]),
        ("--offsets 2", [2]),
        ("--partition 3", [0, 1, 2, 3]),
        ("--partition 2", []),
        ("--code STRICT --code OTHER", [0, 1, 2, 3]),
        ("--code OTHER", []),
        ("--since 1h", [0, 1, 2, 3]),
        ("--since 9999999999d", [0, 1, 2, 3]),
        ("--until 1h", []),
        ("--since 2001-01-01 --until 2900-01-01T00:00:00Z", [0, 1, 2, 3]),
        ("--since 2001-01-01T00:00:00+20:00", [0, 1, 2, 3]),
        ("--source trades", [0, 1, 2, 3]),
        ("--source others", []),
    ],
)
def test_options_select(ready, keep, arguments, offsets):
    keep(trade("T0"), trade("T1"), trade("T12", counterparty_id="T1"), b"{}")

    done = dlq("ls", *arguments.split(), env=ready)

    assert offsets == [int(found) for found in re.findall(r"trades\[3\]@(\d+)", done.out)]


@pytest.mark.output
def test_an_empty_list_is_reported(ready):
    assert (0, "no open dead letters in the table trade_refusals\n", "") == dlq("ls", env=ready)
    assert (0, "no open dead letters and 0 replayed in the table trade_refusals\n", "") == dlq("stats", env=ready)
    assert (0, "nothing to replay\n", "") == dlq("replay", env=ready)
    assert (0, "", "exported 0 dead letters from the table trade_refusals\n") == dlq("export", env=ready)


@pytest.mark.output
def test_a_filtered_list_is_marked_as_filtered(ready, keep):
    keep(trade("T1"), trade("T2"))

    assert "1 matching open dead letter in the table" in dlq("ls", "--trade-id", "T1", env=ready).out
    assert "no matching open dead letters in the table" in dlq("ls", "--trade-id", "T3", env=ready).out
    assert "no matching open dead letters and 0 replayed in" in dlq("stats", "--code", "OTHER", env=ready).out


def copied(lines, prose):
    """Return the words of the command that a terminal shows below some prose, as a shell reads them."""
    command = lines[lines.index(prose) + 1 :]
    last = next(number for number, line in enumerate(command) if not line.endswith("\\"))
    assert all(len(line) <= 80 or len(line.split()) < 4 for line in command[: last + 1])
    return shell_words("\n".join(command[: last + 1]))


@pytest.mark.output
@pytest.mark.slow
def test_a_person_is_led_from_the_list_to_the_reason_and_back(ready, keep):
    """By commands that name the same place, without what is secret in it, and that can be copied from 80 columns."""
    keep(trade("T1"))
    typed = ["--database", ready["DATABASE_URL"], "--from", "table"]

    listed = at_a_terminal("dlq", "ls", *typed, env=ready)
    shown = at_a_terminal("dlq", "show", "trades[3]@0", *typed, env=ready)

    dlq, place = f"{TYPED}.dlq".split(), ["--database", redact(ready["DATABASE_URL"]), "--from", "table"]
    assert [*dlq, "show", "trades[3]@0", *place] == copied(listed.lines, "See why:")
    replay = [*dlq, "replay", "--source", "trades", "--partition", "3", "--offsets", "0", *place]
    assert replay == copied(shown.lines, "Replay it after the cause is fixed, first with --dry-run:")


@pytest.mark.output
@pytest.mark.slow
def test_an_empty_list_suggests_where_else_to_look(ready):
    seen = at_a_terminal("dlq", "ls", "--trade-id", "T1", env=ready)

    assert [
        "no matching open dead letters in the table trade_refusals",
        "Already replayed? Add --all",
        "In the other store? Add --dead-letters TOPIC",
        f"Not processed yet? Run {TYPED}.sink offsets show",
    ] == seen.lines


@pytest.mark.output
def test_without_a_registry_the_key_is_shown_for_the_trade(ready, keep):
    keep(trade("T7"))

    done = dlq("ls", env={**ready, "SCHEMA_REGISTRY_URL": ""})

    assert done.out.splitlines()[1].endswith("STRICT      1  T7")


@pytest.mark.output
def test_without_an_answer_of_the_registry_the_key_is_shown_with_the_reason(ready, keep):
    keep(trade("T7"), trade("T8"))

    done = dlq("ls", env={**ready, "SCHEMA_REGISTRY_URL": f"http://{NOWHERE}"})

    assert (0, 1) == (done.code, done.err.count("showing records without decoding them"))
    assert done.out.splitlines()[1].endswith("STRICT      1  T7")
    shown = dlq("show", "trades[3]@0", env={**ready, "SCHEMA_REGISTRY_URL": f"http://{NOWHERE}"})
    assert f"not decoded: the registry at http://{NOWHERE} is unavailable" in shown.out


def test_one_is_shown_with_its_reasons_and_fields(ready, keep):
    keep(trade("T7", version=3), violation=Violation("STRICT", "line one\nline \x1b[2Jtwo"))

    done = dlq("show", "trades[3]@0", env=ready)

    lines = [line.strip() for line in done.out.splitlines()]
    assert "trades[3]@0: open, refused once" == lines[0]
    assert "STRICT: line one\\nline \\x1b[2Jtwo" in lines
    assert {"trade_id          T7", "version           3", "maturity_date     2030-01-01"} <= set(lines)
    assert {"by group    mine", "topic id    an-id", "key         T7"} <= set(lines)


@pytest.mark.output
def test_an_undecodable_value_is_shown_byte_by_byte(ready, keep):
    keep(b"{\x00not a trade at all}")

    done = dlq("show", "trades[3]@0", env=ready)

    assert "21 bytes, not decoded: FRAMING" in done.out
    assert "  00000000  7b 00 6e 6f 74 20 61 20 74 72 61 64 65 20 61 74  |{.not a trade at|" in done.out.splitlines()


@pytest.mark.output
def test_without_a_registry_the_value_is_shown_undecoded_with_the_reason(ready, keep):
    keep(trade("T7"))

    done = dlq("show", "trades[3]@0", env={**ready, "SCHEMA_REGISTRY_URL": ""})

    assert "not decoded: no registry given: pass --registry" in done.out
    assert "00000000  00 00 00 00" in done.out


def test_an_unknown_schema_id_is_reported_once_and_looked_up_once(ready, keep):
    keep(
        b"\x00\x7f\xff\xff\xff\x02",
        violation=Violation("UNKNOWN_SCHEMA", "the registry does not know schema id 2147483647"),
    )

    done = dlq("show", "trades[3]@0", env=ready)

    assert "6 bytes, not decoded" == done.out.splitlines()[-2].partition("value")[2].strip()
    assert 1 == done.out.count("the registry does not know")


@pytest.mark.output
def test_a_missing_dead_letter_is_reported(ready, keep):
    keep(trade())

    done = dlq("show", "trades[3]@9", env=ready)

    assert (1, "") == done[:2]
    assert "no dead letter trades[3]@9 in the table trade_refusals; list them: tradepipe dlq ls --all" in done.err


@pytest.mark.output
def test_they_are_counted_with_bars(ready, keep):
    keep(*(trade(f"T{number}") for number in range(4)))
    keep(trade("U"), violation=Violation("OTHER", "x"), topic="others")

    done = dlq("stats", env=ready)

    assert ["code    open  replayed", f"STRICT     4         0  {'#' * 24}", f"OTHER      1         0  {'#' * 6}"] == (
        done.out.splitlines()[:3]
    )
    assert "5 open dead letters and 0 replayed in the table trade_refusals" == done.out.splitlines()[3]
    assert ["others[3]", "trades[3]"] == [
        line.split()[0] for line in dlq("stats", "--by", "partition", env=ready).out.splitlines()[1:3]
    ]


def test_replayed_records_that_are_valid_are_stored_and_the_others_reported(ready, keep):
    keep(trade("T1"), trade("T1", counterparty_id="CP-2"), b"{}", trade("T2"))

    done = dlq("replay", env=ready)

    assert 1 == done.code
    assert "refused again trades[3]@2: FRAMING: the value begins with 7b 7d" in done.out
    assert "VERSION_COLLISION: trade_id T1 version 1 is already stored" in done.out
    assert "2 stored, 2 refused again" == done.out.splitlines()[-1]
    assert "Note: replayed records are out of order" in done.err
    assert ([(2,)], [(2,)]) == (ask(ready["DATABASE_URL"], TRADES), ask(ready["DATABASE_URL"], OPEN))
    assert "yes" in dlq("ls", "--all", env=ready).out


def test_a_replay_is_done_in_the_end_and_a_second_one_finds_nothing(ready, keep):
    keep(trade("T1"), trade("T2"))

    assert (0, "2 stored\n") == dlq("replay", env=ready)[:2]
    assert (0, "nothing to replay\n") == dlq("replay", env=ready)[:2]


def test_an_old_version_comes_back_unless_it_is_to_stay_refused(ready, keep):
    keep(trade("T1", version=2), trade("T1", version=1))

    done = dlq("replay", "--stale", "refuse", env=ready)

    assert (1, "1 stored, 1 refused again") == (done.code, done.out.splitlines()[-1])
    assert "STALE_VERSION: trade_id T1 version 1 came after version 2" in done.out
    assert (0, "1 stored\n") == dlq("replay", env=ready)[:2]


def test_a_dry_run_changes_nothing(ready, keep):
    keep(trade("T1"), b"{}")

    done = dlq("replay", "--dry-run", env=ready)

    assert "1 would be stored, 1 would be refused again; nothing was changed" == done.out.splitlines()[-1]
    assert ([(0,)], [(2,)]) == (ask(ready["DATABASE_URL"], TRADES), ask(ready["DATABASE_URL"], OPEN))


def test_a_record_replayed_too_often_is_skipped_with_the_option_that_retries_it(ready, keep):
    keep(b"{}")
    dlq("replay", "--max-replays", "1", env=ready)

    done = dlq("replay", "--max-replays", "1", env=ready)

    assert 1 == done.code
    assert (
        "skipped trades[3]@0: replayed once and refused again each time; --max-replays 2 replays it once more\n"
        "1 skipped\n" == done.out
    )


def test_an_export_has_every_byte(ready, keep):
    keep(trade("T7"), bytes(range(256)), None)

    done = dlq("export", env=ready)

    first, second, third = (json.loads(line) for line in done.out.splitlines())
    assert ("trades", 3, 0, "T7", "2030-01-01") == (
        first["topic"],
        first["partition"],
        first["offset"],
        first["trade"]["trade_id"],
        first["trade"]["maturity_date"],
    )
    assert [{"code": "STRICT", "detail": "a rule that is gone"}] == first["violations"]
    assert (bytes(range(256)), None) == (base64.b64decode(second["value"]), second["trade"])
    assert (None, b"X1") == (third["value"], base64.b64decode(third["key"]))


@pytest.mark.output
def test_an_export_overwrites_a_file_only_with_the_option(ready, keep, tmp_path):
    keep(trade("T7"))
    file = tmp_path / "letters.jsonl"
    file.write_text("mine")

    refused = dlq("export", "--output", str(file), env=ready)
    assert (2, "mine") == (refused.code, file.read_text())
    assert "add --overwrite" in refused.err

    assert 0 == dlq("export", "--output", str(file), "--overwrite", env=ready).code
    assert "T7" == json.loads(file.read_text())["trade"]["trade_id"]
    assert [file] == list(tmp_path.iterdir())


@pytest.mark.output
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("ls --from topic", "TRADEPIPE_DEAD_LETTERS"),
        ("ls --from somewhere", "'table', 'topic'"),
        ("ls --since yesterday", "an age such as 2h"),
        ("ls --offsets 9-x", "offsets such as 5-9"),
        ("ls --limit 0", "'--limit'"),
        ("ls --limit 99999999999999999999", "'--limit'"),
        ("ls --offsets 9-5", "9-5 ends before it starts"),
        ("ls --since 1h --until 2h", "2h is not after --since 1h"),
        ("ls --dead-letters trades.dlq", "KAFKA_BOOTSTRAP_SERVERS"),
        ("show", "Missing argument 'COORDINATES'"),
        ("show trades", "TOPIC[PARTITION]@OFFSET"),
        ("stats --by week", "'code', 'partition', 'day'"),
        ("replay --max-replays 0", "'--max-replays'"),
        ("export --output /nowhere/x", "is not writable"),
    ],
)
def test_contradictory_arguments_are_a_usage_error(ready, arguments, message):
    done = dlq(*arguments.split(), env=ready)

    assert 2 == done.code
    assert message in done.err.splitlines()[-1]


@pytest.mark.output
def test_without_a_store_the_message_names_both(ready):
    done = dlq("ls", env={**ready, "DATABASE_URL": ""})

    assert 2 == done.code
    assert "--database URL" in done.err
    assert "--dead-letters TOPIC" in done.err


@pytest.mark.output
def test_two_places_in_the_environment_need_a_decision(ready):
    done = dlq("ls", env={**ready, "TRADEPIPE_DEAD_LETTERS": "trades.dlq"})

    assert (2, True) == (done.code, "pass --from table or --from topic" in done.err)
    assert 0 == dlq("ls", "--from", "table", env={**ready, "TRADEPIPE_DEAD_LETTERS": "trades.dlq"}).code
    typed = ("ls", "--database", ready["DATABASE_URL"])
    assert 0 == dlq(*typed, env={**ready, "TRADEPIPE_DEAD_LETTERS": "trades.dlq"}).code


def test_a_replay_needs_a_registry_that_has_the_subject(ready, keep):
    keep(trade())

    assert (2, "SCHEMA_REGISTRY_URL") == _refusal(dlq("replay", env={**ready, "SCHEMA_REGISTRY_URL": ""}))
    assert 78 == dlq("replay", "--subject", "missing", env=ready).code


def _refusal(done):
    return done.code, re.findall(r"SCHEMA_REGISTRY_URL|$", done.err)[0]


@pytest.mark.output
def test_an_outdated_database_is_reported(env):
    done = dlq("ls", env=env)

    assert 78 == done.code
    assert "tradepipe migrate upgrade" in done.err


@pytest.mark.output
def test_a_command_waits_for_the_database_until_the_deadline(ready):
    done = dlq("ls", "--deadline", "1", env={**ready, "DATABASE_URL": f"postgresql://me:secret@{NOWHERE}/trades"})

    assert 75 == done.code
    assert "secret" not in done.err


@pytest.mark.slow
def test_a_replay_that_is_killed_and_repeated_stores_each_once(ready, keep):
    keep(*(trade(f"T{number}") if number % 50 else b"{}" for number in range(5_000)))
    database = ready["DATABASE_URL"]
    for share in (500, 1_500, 2_500):
        with running("dlq", "replay", env=ready) as process:
            eventually(lambda share=share: ask(database, TRADES)[0][0] >= share, every=0.005)
            process.send_signal(signal.SIGKILL)

    done = dlq("replay", "--max-replays", "9", env=ready)

    assert 1 == done.code
    assert [(4_900, 4_900, 4_900)] == ask(
        database,
        "SELECT count(*), count(DISTINCT source_offset), "
        "(SELECT count(*) FROM trade_refusals WHERE replayed_at IS NOT NULL AND attempts = 1) FROM trades",
    )
    assert [(100,)] == ask(database, OPEN)


def slowed(database: str) -> None:
    """Each INSERT into trades takes half a second longer."""
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END';"
            "CREATE TRIGGER slowly BEFORE INSERT ON trades EXECUTE FUNCTION slowly()"
        )
    connection.close()


@pytest.mark.slow
def test_a_signal_ends_a_replay_after_the_current_transaction(ready, keep):
    slowed(ready["DATABASE_URL"])
    keep(*(trade(f"T{number}") for number in range(5_000)))
    with running("dlq", "replay", env=ready) as process:
        eventually(lambda: ask(ready["DATABASE_URL"], TRADES)[0][0] > 0, every=0.005)
        process.send_signal(signal.SIGTERM)
        done = process.end()

    assert 128 + signal.SIGTERM == done.code, done.err
    stored = ask(ready["DATABASE_URL"], TRADES)[0][0]
    assert f"{stored:,} stored; stopped, run the command again for the rest" == done.out.splitlines()[-1]
    assert "stopping after the current transaction" in done.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "unavailable",
    [("--registry", f"http://{NOWHERE}"), ("--database", f"postgresql://{NOWHERE}/x")],
    ids=["registry", "database"],
)
def test_a_signal_ends_the_waiting_for_a_service_before_anything_was_replayed(ready, unavailable):
    with running("dlq", "replay", *unavailable, env=ready) as process:
        process.says("retrying for up to")
        process.send_signal(signal.SIGINT)
        done = process.end()

    assert (130, "") == done[:2]
