"""Examples that `--help` ends with."""

import re
from typing import Final

EXAMPLES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "": (
        ("demo", "The whole pipeline on this machine, with nothing to set up."),
        ("produce --help", "All options of a command, and the variable of each."),
    ),
    "produce": (
        ("--count 1000 --bad 0.02 --resend 0.01", "A thousand made-up records, some of them bad and some sent again."),
        (
            "--input trades.csv.gz --column trade_id=ID --on-error skip",
            "The trades of a file whose header for trade_id is ID; bad lines go to trades.csv.gz.rejects.jsonl.",
        ),
        ("--input trades.jsonl --dry-run", "Check a file, and send nothing."),
    ),
    "validate": (
        ("", "Sort what comes to trades into trades.clean and trades.dlq, until Ctrl-C."),
        ("--until-end --start earliest", "A new group sorts all that is there, also if its targets are not empty."),
    ),
    "sink": (
        ("-v", "Store what comes, and print each trade that is new, until Ctrl-C."),
        ("--until-end --start latest", "A new group begins at the end of the topic, and ends when it is there."),
    ),
    "sink offsets": (
        ("show", "How far the group has stored the topic, and its lag."),
        ("reset --to earliest --dry-run", "What storing everything once more would change; nothing is written twice."),
    ),
    "sink offsets show": (
        ("", "How far the group has stored the topic, and its lag."),
        ("--format json", "The same for a program."),
    ),
    "sink offsets reset": (
        ("--to earliest --dry-run", "What storing everything once more would change; nothing is written twice."),
        ("--to 2025-06-01T08:00:00Z --partition 0", "Go on from a time, in one partition."),
    ),
    "dlq": (
        ("ls --trade-id T47654", "Find the refused records of a trade, by DATABASE_URL or TRADEPIPE_DEAD_LETTERS."),
        ("show 'trades[0]@42'", "Show why one was refused, and all it holds."),
    ),
    "dlq ls": (
        (
            "--since 2h --code VERSION_COLLISION",
            "What collided in the last two hours, out of the table of DATABASE_URL.",
        ),
        ("--dead-letters trades.dlq", "What a validator refused, out of its topic."),
    ),
    "dlq show": (
        ("'trades[0]@42'", "Why a record was refused, and all it holds."),
        ("'trades[0]@42' --dead-letters trades.dlq", "The same out of a topic."),
    ),
    "dlq stats": (
        ("", "How many were refused, by code."),
        ("--by day --source trades", "Those of one topic, by day."),
    ),
    "dlq replay": (
        ("--code UNKNOWN_SCHEMA --dry-run", "What would become of these now, with the registry of today."),
        ("--dead-letters trades.dlq --trade-id T47654", "Put the records of a trade back into their topic."),
    ),
    "dlq export": (
        ("--output letters.jsonl", "Take along all that are open, with all their bytes."),
        ("--all --since 7d", "Print a week's, those that were replayed too."),
    ),
    "demo": (
        ("", "Run the pipeline, and tell what was stored and what was refused."),
        ("--keep", "Run the pipeline and leave the services running."),
    ),
    "migrate": (
        ("upgrade", "Make or change the tables."),
        ("current", "Tell where the database is."),
    ),
    "migrate upgrade": (
        ("", "Make or change the tables of the database that DATABASE_URL names."),
        ("--deadline 120", "Wait for two minutes for a database that is still starting."),
    ),
    "migrate current": (
        ("", "Tell the revision of the database that DATABASE_URL names."),
        ("--deadline 1", "Give up soon if it is away."),
    ),
    "schema": (
        ("check trade.avsc", "Whether an edited copy of the newest version may be the next one."),
        ("register", "Register all versions of the schema."),
    ),
    "schema validate": (
        ("", "Check each frozen version by itself."),
        ("trade.avsc --strict", "Check a file, and end with 1 for warnings as well."),
    ),
    "schema check": (
        ("", "Check that no frozen version was changed, and that each may follow those before it."),
        ("trade.avsc --format junit", "Check the next version on a CI server."),
    ),
    "schema diff": (
        ("1 2", "What version 2 changed, and what readers make of it."),
        ("1 trade.avsc", "The same of a file that is not frozen yet."),
        ("2 trade.avsc --format github", "Each change as an annotation of a workflow."),
    ),
    "schema freeze": (
        ("trade.avsc --alembic-revision 0002_venue", "Make it the next version; its records need this revision."),
        ("trade.avsc --dry-run", "Check all that would be checked, and write nothing."),
    ),
    "schema show": (
        ("1", "The first version of the schema."),
        ("1 --as decode", "The code that reads its records."),
    ),
    "schema pull": (
        ("held", "Fetch what the registry holds into the folder held; again, what is new there."),
        ("clean --subject trades.clean-value", "Fetch another subject."),
    ),
    "schema drift": (
        ("", "Whether the registry holds what the repository does."),
        ("--also trades.clean-value --format github", "Two subjects, as annotations of a workflow."),
    ),
    "schema register": (
        ("", "Register all versions of the schema, with the level FULL_TRANSITIVE."),
        ("--also trades.clean-value", "Register it for the readers of another topic too."),
    ),
    "topics check": (
        ("", "Check the topic of trades; the exit code tells what was found."),
        ("--topic trades.clean --like trades", "Check one that a validator of trades writes into."),
    ),
    "topics": (
        ("create", "Create the topic of trades."),
        ("create --help", "All its options."),
    ),
    "topics create": (
        ("--partitions 12", "Create the topic of trades, for up to twelve sinks."),
        ("--replication 3 -c retention.ms=604800000", "On three brokers, and kept for a week."),
        ("--topic trades.dlq --like trades", "One that a validator of trades can write its dead letters to."),
    ),
}
"""A command → some of its arguments, and what they are for."""

_command_of = re.compile(r"(?:tradepipe |tradepipe(?: |$))(.*)").fullmatch


def examples(command_path: str) -> tuple[tuple[str, str], ...]:
    """Those of a command, by the way it was called: `tradepipe sink` and `tradepipe sink` are the same."""
    found = _command_of(command_path)
    return EXAMPLES.get(found[1], ()) if found else ()
