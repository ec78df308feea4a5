"""Wrong ways to start a command: the right code, one message that says what to do, and no traceback."""

import pytest

from tests.cli.commands import run_command

NOWHERE = "127.0.0.1:1"
"""An address without a server."""

UNREACHABLE = {
    "KAFKA_BOOTSTRAP_SERVERS": NOWHERE,
    "SCHEMA_REGISTRY_URL": f"http://{NOWHERE}",
    "DATABASE_URL": f"postgresql://{NOWHERE}/trades",
    "TRADEPIPE_TOPIC": "trades",
    "TRADEPIPE_SUBJECT": "trades-value",
    "TRADEPIPE_SINK_GROUP": "mine",
}

USAGE = [
    ("sink", "--nonsense", "No such option"),
    ("sink", "--start=yesterday", "2025-06-01T08:00:00Z"),
    ("sink", "--max-refused=1.5", "a share between 0 and 1, or off"),
    ("sink", "--batch-rows=0", "'--batch-rows'"),
    ("sink", "--connections=101", "'101' is not less than or equal to 100"),
    ("sink", "--unknown-fields=keep", "'TRADEPIPE_UNKNOWN_FIELDS'): 'keep' is not one of 'stop', 'drop'"),
    ("sink", "-X sasl.password", "KEY=VALUE"),
    ("sink", "--database=postgresql://me:secret@db:port/trades", "its port is not a number"),
    ("sink", "--log-level=loud", "'debug', 'info', 'warning', 'error'"),
    ("produce", "--count=none", "'--count'"),
    ("produce", "--bad=0.9 --resend=0.2", "must add up to at most 1"),
    ("produce", "--rate=0", "'--rate'"),
    ("produce", "--seed=-1", "'--seed'"),
    ("produce", "--deadline=soon", "'--deadline'"),
    ("produce", "--dry-run", "only valid with --input FILE"),
    ("produce", "--column=trade_id=ID", "only valid with --input FILE"),
    ("produce", "--input=missing.csv", "missing.csv: cannot be opened: No such file"),
    ("produce", "--input=https://example.com/t.csv", "is a URL: download it, or pipe it to --input -"),
    ("produce", "--input=-", "--input-format csv or --input-format jsonl"),
    ("produce", "--input=x.csv --input-format=xml", "'csv', 'jsonl'"),
    ("produce", "--input=x.csv --seed=1", "only valid for sample trades"),
    ("produce", "--input=x.csv --bad=0.1", "only valid for sample trades"),
    ("produce", "--input=x.csv --on-error=ignore", "'stop', 'skip'"),
    ("produce", "--input=x.csv --rejects=r", "only valid with --on-error skip"),
    ("produce", "--input=- --input-format=csv --on-error=skip", "--rejects FILE"),
    ("produce", "--input=x.csv --column=book=B", "'book' is not a field of a trade"),
    ("produce", "--input=x.csv --default=version=one", "version: 'one' is not a whole number"),
    ("produce", "--kafka-config=missing", "cannot read missing: No such file"),
    ("produce", "--registry-user=me", "SCHEMA_REGISTRY_PASSWORD"),
    ("produce", "--log-format=xml", "'text', 'json'"),
    ("produce", "trades.csv", "unexpected extra argument"),
    ("migrate", "upgrade now", "unexpected extra argument"),
    ("migrate", "upgrade --database", "requires an argument"),
    ("migrate", "upgrade --deadline=0", "'--deadline'"),
    ("migrate", "upgrade --deadline=never", "'--deadline'"),
    ("migrate", "upgrade --deadline=nan", "'nan' is not less than or equal to 604800"),
    ("migrate", "upgrade --deadline=inf", "'inf' is not less than or equal to 604800"),
    ("migrate", "upgrade --log-level=loud", "'debug', 'info', 'warning', 'error'"),
    ("migrate", "upgrade --log-format=xml", "'text', 'json'"),
    ("migrate", "current --to=head", "No such option"),
    ("migrate", "--database=x upgrade", "No such option"),
    ("schema", "register trades-value", "unexpected extra argument"),
    ("schema", "register --registry", "requires an argument"),
    ("schema", "register --deadline=-1", "'--deadline'"),
    ("schema", "register --registry-user=me", "SCHEMA_REGISTRY_PASSWORD"),
    ("schema", "unregister", "No such command"),
    ("migrate", "sideways", "No such command"),
    ("migrate", "current now", "unexpected extra argument"),
    ("migrate", "upgrade --deadline", "requires an argument"),
    ("schema", "register --level=SOME", "FULL_TRANSITIVE"),
    ("schema", "register --level", "requires an argument"),
    ("schema", "register --nonsense", "No such option"),
    ("schema", "register --log-level=loud", "'debug', 'info', 'warning', 'error'"),
    ("schema", "register --log-format=xml", "'text', 'json'"),
    ("schema", "register --registry-cert", "requires an argument"),
    ("schema", "--registry=x register", "No such option"),
    ("migrate", "upgrade --database=postgresql://me:secret@db:port/trades", "its port is not a number"),
    ("topics", "create --partitions=0", "'--partitions'"),
    ("topics", "create --deadline=0", "'--deadline'"),
    ("topics", "create now", "unexpected extra argument"),
    ("topics", "delete", "No such command"),
    ("topics", "create -c retention.ms", "KEY=VALUE"),
]

MISCONFIGURED = [
    ("sink", "--topic=missing", "tradepipe topics create --topic missing"),
    ("sink", "--subject=missing", "tradepipe schema register --subject missing"),
    ("sink", "-X enable.auto.commit=true", "enable.auto.commit"),
    ("sink", "-X no.such.property=1", "no.such.property"),
    ("sink", "--database=mysql://me:secret@db/trades", "postgresql://"),
    ("sink", "--registry=ftp://me:secret@registry", "http://localhost:8081"),
    ("produce", "--count=1 --topic=missing", "tradepipe topics create --topic missing"),
    ("produce", "--count=1 --subject=missing", "tradepipe schema register"),
    ("produce", "--count=1 -X acks=1", "acks"),
    ("produce", "--count=1 -X no.such.property=1", "no.such.property"),
    ("produce", "--count=1 --registry=ftp://me:secret@registry", "http://localhost:8081"),
    ("produce", "--count=1 --registry-ca=missing", "ca_location='missing' cannot be read"),
    ("migrate", "upgrade --database={database}x", "does not exist"),
    ("migrate", "upgrade --database=trades", "postgresql://"),
    ("migrate", "upgrade --database=mysql://me:secret@db/trades", "postgresql://"),
    ("migrate", "upgrade --database={database}?nonsense=1", "nonsense"),
    ("migrate", "upgrade --database={database}?sslmode=maybe", "sslmode"),
    ("schema", "register --registry=registry", "http://localhost:8081"),
    ("schema", "register --registry=http://", "http://localhost:8081"),
    ("schema", "register --registry=http://me:/secret@registry", "%XX"),
    ("schema", "register --registry-key=missing", "client_cert"),
    ("schema", "register --registry-ca=missing", "ca_location='missing' cannot be read"),
    ("schema", "register --registry-proxy=ftp://me:secret@proxy", "http://proxy:3128"),
    ("topics", "create --topic=new -X plugin.library.paths=x", "it loads code"),
    ("topics", "create --topic=new -c cleanup.policy=compact", "compaction drops versions"),
]

AWAY = [
    ("produce", f"--count=1 --bootstrap-servers={NOWHERE}"),
    ("produce", f"--count=1 --registry=http://me:secret@{NOWHERE}"),
    ("migrate", f"upgrade --database=postgresql://me:secret@{NOWHERE}/trades"),
    ("migrate", f"current --database=postgresql://me:secret@{NOWHERE}/trades"),
    ("schema", f"register --registry=http://me:secret@{NOWHERE}"),
    ("topics", f"create --bootstrap-servers={NOWHERE}"),
]


def refused(name: str, arguments: str, env: dict[str, str]) -> tuple[int, str]:
    """The code, and what the last line says; nothing else is said but what was waited for."""
    done = run_command(name, *arguments.format(database=env["DATABASE_URL"]).split(), env=env)

    assert "Traceback" not in done.err
    assert "secret" not in done.err
    assert 1 == sum(line.startswith("Error: ") for line in done.err.splitlines()), done.err
    assert done.err.splitlines()[-1].startswith("Error: ")
    return done.code, done.err.splitlines()[-1]


@pytest.mark.parametrize(("name", "arguments", "reported"), USAGE)
def test_contradictory_arguments_are_a_usage_error(name, arguments, reported):
    """No service is needed for it."""
    code, message = refused(name, arguments, UNREACHABLE)

    assert 2 == code
    assert reported in message


@pytest.mark.output
@pytest.mark.parametrize(("name", "arguments", "reported"), MISCONFIGURED)
def test_a_wrong_configuration_stops_the_command(ready, name, arguments, reported):
    code, message = refused(name, arguments, ready)

    assert 78 == code
    assert reported in message


@pytest.mark.output
@pytest.mark.parametrize(("name", "arguments"), AWAY)
def test_a_command_waits_for_a_service_until_the_deadline(ready, name, arguments):
    code, message = refused(name, f"{arguments} --deadline=1", ready)

    assert 75 == code
    assert "gave up after 1 s" in message


@pytest.mark.output
def test_an_older_database_revision_stops_the_sink(ready, services):
    empty = services.postgres_url  # which is not migrated

    code, message = refused("sink", f"--until-end --database={empty}", ready)

    assert 78 == code
    assert "tradepipe migrate upgrade" in message


@pytest.mark.parametrize(
    ("name", "arguments", "option"),
    [
        ("validate", "--registry=x", "KAFKA_BOOTSTRAP_SERVERS"),
        ("produce", "--bootstrap-servers=x", "SCHEMA_REGISTRY_URL"),
        ("migrate", "upgrade", "DATABASE_URL"),
        ("schema", "register", "SCHEMA_REGISTRY_URL"),
        ("topics", "create", "KAFKA_BOOTSTRAP_SERVERS"),
        ("validate", "", "--bootstrap-servers (or KAFKA_BOOTSTRAP_SERVERS), --registry (or SCHEMA_REGISTRY_URL)"),
        ("sink", "offsets reset", "(or KAFKA_BOOTSTRAP_SERVERS), --database (or DATABASE_URL), --to"),
    ],
)
def test_an_option_that_is_missing_is_named_with_its_variable(name, arguments, option):
    done = run_command(name, *arguments.split(), env={})

    assert 2 == done.code
    assert option in done.err.splitlines()[-1]
