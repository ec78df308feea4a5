"""Examples at the end of `--help`."""

from typing import Final

MAX_OF_GROUP: Final = 2

EXAMPLES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "": (
        ("demo", "Run the whole pipeline on this machine, without any setup."),
        ("produce --help", "List all options of a command and their variables."),
    ),
    "produce": (
        ("--count 1000 --bad 0.02 --resend 0.01", "Send 1000 sample records, some invalid and some sent twice."),
        (
            "--input trades.csv --suggest-mapping trades.toml",
            "Begin a mapping file for a file with other headers and formats.",
        ),
        (
            "--input trades.csv --mapping trades.toml --on-error skip",
            "Send the trades of the file; write invalid records to trades.csv.rejects.csv.",
        ),
        ("--input trades.jsonl --dry-run", "Check a file without sending anything."),
    ),
    "validate": (
        ("", "Copy records from trades to trades.clean and trades.dlq until Ctrl-C."),
        ("--until-end --start earliest", "Validate everything in the topic, even if the output topics are not empty."),
    ),
    "sink": (
        ("-v", "Store trades, and print each one, until Ctrl-C."),
        ("--until-end --start latest", "Let a new group start at the end of the topic, and exit when it is there."),
    ),
    "sink offsets show": (
        ("", "Print the stored offsets of the group and its lag."),
        ("--format json", "Print them as JSON."),
    ),
    "sink offsets reset": (
        ("--to earliest --dry-run", "Print what a reset would change, to process the whole topic again."),
        ("--to 2025-06-01T08:00:00Z --partition 0", "Resume from a point in time in one partition."),
    ),
    "dlq ls": (
        ("--since 2h --code VERSION_COLLISION", "List the collisions of the last two hours, in DATABASE_URL."),
        ("--dead-letters trades.dlq", "List the records that a validator refused."),
    ),
    "dlq show": (
        ("'trades[0]@42'", "Show why a record was refused, and everything known about it."),
        ("'trades[0]@42' --dead-letters trades.dlq", "Show a dead letter of a topic."),
    ),
    "dlq stats": (
        ("", "Count dead letters by code."),
        ("--by day --source trades", "Count the dead letters of one topic by day."),
    ),
    "dlq replay": (
        ("--code UNKNOWN_SCHEMA --dry-run", "Print what a replay would do, with the schemas registered now."),
        ("--dead-letters trades.dlq --trade-id T47654", "Send the records of a trade back to their topic."),
    ),
    "dlq export": (
        ("--output letters.jsonl", "Write all open dead letters to a file, with their bytes."),
        ("--all --since 7d", "Print the dead letters of a week, including replayed ones."),
    ),
    "demo": (
        ("", "Run the pipeline, and print what was stored and what was refused."),
        ("--keep", "Leave the services running afterwards, to explore."),
    ),
    "embedded": (
        ("", "Run the services, with the topics trades, trades.clean and trades.dlq."),
        ("--topic orders:12", "Run them with one topic, of twelve partitions."),
    ),
    "migrate upgrade": (
        ("", "Create or change the tables in DATABASE_URL."),
        ("--deadline 120", "Wait up to two minutes for a database that is starting."),
    ),
    "migrate current": (
        ("", "Print the revision of the database in DATABASE_URL."),
        ("--deadline 1", "Fail after a second if the database is unavailable."),
    ),
    "migrate draft": (
        ("", "Write what the declaration needs and no revision makes."),
        ("--print", "Print it instead."),
    ),
    "schema validate": (
        ("", "Check each released version."),
        ("trade.avsc --strict", "Check a file, and exit with 1 on warnings too."),
    ),
    "schema check": (
        ("", "Check that no released version was changed, and that each is compatible with earlier ones."),
        ("trade.avsc --format junit", "Check the next version on a CI server."),
    ),
    "schema diff": (
        ("1 2", "Print what version 2 changed, and its effects on readers."),
        ("1 trade.avsc", "Compare a version with a file."),
        ("2 trade.avsc --format github", "Annotate each change in a GitHub workflow."),
    ),
    "schema draft": (
        ("", "Print the next version as the declaration has it."),
        ("--output trade.avsc", "Write it to a file."),
    ),
    "schema freeze": (
        ("", "Release what `schema draft` prints."),
        (
            "trade.avsc --alembic-revision 0004_pre_add_venue",
            "Release the next version; its records need this revision.",
        ),
        ("trade.avsc --dry-run", "Run all checks without writing anything."),
    ),
    "schema show": (("1", "Print the first version."), ("", "Print the newest version.")),
    "schema pull": (
        ("registered", "Download the versions of the subject into ./registered."),
        ("clean --subject trades.clean-value", "Download another subject."),
    ),
    "schema drift": (
        ("", "Check whether the registry and the repository agree."),
        ("--also trades.clean-value --format github", "Check two subjects, with GitHub annotations."),
    ),
    "schema register": (
        ("", "Register all versions of the schema, with level FULL_TRANSITIVE."),
        ("--also trades.clean-value", "Register them for the readers of another topic too."),
    ),
    "topics check": (
        ("", "Check the topic trades."),
        ("--topic trades.clean --like trades", "Check an output topic of a validator."),
    ),
    "topics create": (
        ("--partitions 12", "Create the topic trades, for up to twelve sinks."),
        ("--replication 3 -c retention.ms=604800000", "Create it on three brokers, with a retention of a week."),
        ("--topic trades.dlq --like trades", "Create a dead-letter topic for a validator."),
    ),
}
"""A command → examples of its arguments, each with an explanation."""


def examples(name: str) -> tuple[tuple[str, str], ...]:
    """Return the examples of a command such as "sink"; those of a group are the first ones of its commands."""
    if name in EXAMPLES:
        return EXAMPLES[name]
    return tuple(
        (f"{child.removeprefix(name).strip()} {found[0][0]}".strip(), found[0][1])
        for child, found in EXAMPLES.items()
        if child.startswith(f"{name} ") and name
    )[:MAX_OF_GROUP]
