"""Wrong starts of commands: one message that names the cause and the next step, without waiting or a traceback."""

import os
import select
import subprocess
import sys
import time

import pytest

from tests.cli.commands import Done, console, running
from tests.cli.waiting import measure_waiting, waiting_of

NOWHERE = "127.0.0.1:1"
"""An address without a server: a command that connects before it checks would wait for its services."""

URL = f"http://{NOWHERE}"
ADDRESSES = {
    "KAFKA_BOOTSTRAP_SERVERS": NOWHERE,
    "SCHEMA_REGISTRY_URL": URL,
    "DATABASE_URL": f"postgresql://{NOWHERE}/trades",
}
CPU_SECONDS = 10.0
"""A generous bound of the processor time of a command that need not wait: it takes a tenth of it."""

WAITING_SECONDS = 1.0
"""Of the two seconds within which a wrong start ends, the part that is not needed to load and run the command."""

LONG = "n" * 300
DIGITS = "1" * 5_000
DATABASE = ADDRESSES["DATABASE_URL"]
TOPIC_CHARACTERS = "a topic's name has only ASCII letters, digits, '.', '_' and '-'"

USAGE = [
    # Names, empty, blank, over-long and otherwise unusable
    (["sink", "--group", ""], "'--group'", "'' is empty"),
    (["sink", "--group", " "], "'--group'", "' ' is blank"),
    (["sink", "--group", LONG], "'--group'", "is 300 characters long, at most 255 are allowed"),
    (["sink", "--group", "a\n"], "'--group'", "has the control character '\\n' at position 2"),
    (["sink", "--group", "sink "], "'--group'", "begins or ends with a blank"),
    (["sink", "--topic", ""], "'--topic'", "'' is empty"),
    (["sink", "--topic", "my topic"], "'--topic'", f"has ' ' at position 3; {TOPIC_CHARACTERS}"),
    (["sink", "--topic", "träde"], "'--topic'", f"has 'ä' at position 3; {TOPIC_CHARACTERS}"),
    (["sink", "--topic", "trades,orders"], "'--topic'", f"has ',' at position 7; {TOPIC_CHARACTERS}"),
    (["sink", "--topic", "."], "'--topic'", "is not allowed as the name of a topic"),
    (["sink", "--topic", LONG], "'--topic'", "is 300 characters long, at most 249 are allowed"),
    (["sink", "--subject", ""], "'--subject'", "'' is empty"),
    (["sink", "--subject", "\t"], "'--subject'", "is blank"),
    (["sink", "offsets", "show", "--group", ""], "'--group'", "'' is empty"),
    (["sink", "offsets", "reset", "--topic", "a b", "--to", "earliest"], "'--topic'", "has ' ' at position 2"),
    (["validate", "--group", ""], "'--group'", "'' is empty"),
    (["validate", "--topic", ""], "'--topic'", "'' is empty"),
    (["validate", "--clean", "clean topic"], "'--clean'", "has ' ' at position 6"),
    (["validate", "--dead-letters", ""], "'--dead-letters'", "'' is empty"),
    (["validate", "--subject", ""], "'--subject'", "'' is empty"),
    (["validate", "--transactional-id", ""], "'--transactional-id'", "'' is empty"),
    (["produce", "--topic", ""], "'--topic'", "'' is empty"),
    (["produce", "--topic", "a/b"], "'--topic'", "has '/' at position 2"),
    (["produce", "--subject", ""], "'--subject'", "'' is empty"),
    (["topics", "create", "--topic", ""], "'--topic'", "'' is empty"),
    (["topics", "create", "--topic", "my topic"], "'--topic'", "has ' ' at position 3"),
    (["topics", "create", "--like", ""], "'--like'", "'' is empty"),
    (["topics", "create", "--topic", "a", "--like", "a"], "'--like'", "must name another topic than --topic a"),
    (["topics", "check", "--topic", LONG], "'--topic'", "is 300 characters long"),
    (["schema", "register", "--subject", ""], "'--subject'", "'' is empty"),
    (["schema", "register", "--also", ""], "'--also'", "'' is empty"),
    (["schema", "drift", "--subject", " "], "'--subject'", "is blank"),
    (["schema", "pull", "--subject", ""], "'--subject'", "'' is empty"),
    (["dlq", "ls", "--dead-letters", ""], "'--dead-letters'", "'' is empty"),
    (["dlq", "ls", "--dead-letters", "a b"], "'--dead-letters'", "has ' ' at position 2"),
    (["sink", "--database", f"{DATABASE}?options=-csearch_path="], "'--database'", "schema that is empty"),
    (["migrate", "upgrade", "--database", f"{DATABASE}?options=-csearch_path%3D"], "'--database'", "is empty"),
    (["migrate", "current", "--database", f"{DATABASE}?options=-c%20search_path%3D%22%20%22"], "'--database'", ""),
    (["dlq", "ls", "--database", f"{DATABASE}?options=--search_path%3Dfeed,%5C%20"], "'--database'", "is empty"),
    (
        ["sink", "offsets", "show", "--database", f"{DATABASE}?options=-csearch_path%3D{LONG}"],
        "'--database'",
        "schema that is 300 bytes long, at most 63 are allowed",
    ),
    # Numbers that are none
    (["produce", "--deadline", "1e400"], "'--deadline'", "'1e400' is not less than or equal to 604800"),
    (["produce", "--rate", "inf"], "'--rate'", "must be a finite number, not inf"),
    (["produce", "--rate", "nan"], "'--rate'", "'nan' is not greater than or equal to 0.001"),
    # Addresses
    (["migrate", "current", "--database", "postgresql://localhost:port/x"], "'--database'", "its port is not a number"),
    (["migrate", "current", "--database", "postgresql://me:a@b:99999/x"], "'--database'", "from 1 to 65535"),
    (["sink", "--database", "postgresql://localhost:/x"], "'--database'", "its port is not a number"),
    (["dlq", "ls", "--database", "postgresql://localhost:0?x=1"], "'--database'", "its port is not a number"),
    (["sink", "--metrics-port", "0", "--metrics-host", ""], "'--metrics-host'", "'' is empty"),
    (["validate", "--metrics-port", "0", "--metrics-host", " "], "'--metrics-host'", "' ' is blank"),
    (["validate", "--metrics-port", "-1"], "'--metrics-port'", "0"),
    # Values of options
    (["sink", "--start", "now"], "'--start'", "must be earliest, latest, or a timestamp"),
    (["sink", "--start", "2025-13-01"], "'--start'", "must be earliest, latest, or a timestamp"),
    (["validate", "--start", ""], "'--start'", "must be earliest, latest, or a timestamp"),
    (["sink", "--max-refused", "0"], "'--max-refused'", "must be a share between 0 and 1, or off"),
    (["sink", "--max-refused", "1%"], "'--max-refused'", "must be a share between 0 and 1, or off"),
    (["sink", "--batch-rows", "many"], "'--batch-rows'", "'many' is not a valid integer"),
    (["sink", "--metrics-port", "70000"], "'--metrics-port'", "'70000' is not less than or equal to 65535"),
    (["sink", "--stale", "drop"], "'--stale'", "'accept', 'refuse'"),
    (["sink", "--record-key", "ignore"], "'--record-key'", "'refuse', 'accept'"),
    (["validate", "--delivery", "once"], "'--delivery'", "'exactly_once', 'at_least_once'"),
    (["produce", "--count", "0"], "'--count'", "'0' is not greater than or equal to 1"),
    (["produce", "--count", "1,000"], "'--count'", "'1,000' is not a valid integer"),
    (["produce", "--count", "1e3"], "'--count'", "'1e3' is not a valid integer"),
    (["produce", "--bad", "2%"], "'--bad'", "'2%' is not a valid number"),
    (["produce", "--bad", "1.5"], "'--bad'", "'1.5' is not less than or equal to 1"),
    (["dlq", "stats", "--by", "x"], "'--by'", "'x' is not one of 'code', 'partition', 'day'"),
    (["topics", "create", "--retention", "soon"], "'--retention'", "7d, 48h"),
    (["topics", "create", "--partitions", "four"], "'--partitions'", "integer"),
    (["dlq", "ls", "--since", "yesterday"], "'--since'", ""),
    # Numbers with more digits than Python parses, and a Unix time that it takes for one of the year 1711
    (["topics", "create", "--retention", f"{DIGITS}d"], "'--retention'", "7d, 48h"),
    (["dlq", "ls", "--since", f"{DIGITS}d"], "'--since'", "an age such as 2h"),
    (["dlq", "ls", "--until", "9999-12-31T23:59:59-01:00"], "'--until'", "a timestamp such as"),
    (["sink", "offsets", "reset", "--to", DIGITS], "'--to'", "an offset"),
    (["sink", "--start", "1711112010203"], "'--start'", "a timestamp such as 2025-06-01T08:00:00Z"),
    (["schema", "show", DIGITS], "'VERSION'", "this build has versions 1 to"),
    (["schema", "diff", "1", DIGITS], "'NEW'", "cannot read"),
    (["dlq", "ls", "--limit", "0"], "'--limit'", "1"),
    (["dlq", "show", "trades@5"], "trades@5", "TOPIC[PARTITION]@OFFSET"),
    (["sink", "--rules", "rules"], "--rules", "MODULE:FUNCTION"),
    # Bytes that are not UTF-8, as the shell passes them
    (["sink", "--group", "g\udcff"], "'--group'", "has the control character '\\udcff' at position 2"),
    (["sink", "--topic", "t\udcff"], "'--topic'", TOPIC_CHARACTERS),
    (["dlq", "ls", "--trade-id", "T\udcff"], "'--trade-id'", "'T\\udcff' is not valid text in UTF-8"),
    (["dlq", "stats", "--code", "C\udcff"], "'--code'", "'C\\udcff' is not valid text in UTF-8"),
    (["dlq", "replay", "--source", "s\udcff"], "'--source'", "'s\\udcff' is not valid text in UTF-8"),
    (["dlq", "show", "t\udcff[0]@1"], "COORDINATES", "TOPIC[PARTITION]@OFFSET"),
    (["sink", "--rules", "\udcff:rule"], "--rules", "not found"),
    (["schema", "validate", "\udcff"], "cannot read \\udcff", "No such file or directory"),
    # Arguments that are too large for a message
    (["produce", "--dry-run", "--input", "x" * 100_000], "'--input'", "File name too long"),
    (["schema", "validate", "x" * 100_000], "'FILE'", "File name too long"),
    (["sink", "--rules", f"{'x' * 100_000}:rule"], "--rules", "not found"),
    # Commands and options that do not exist
    (["snk"], "No such command 'snk'", "Did you mean 'sink'?"),
    (["sink", "--topics", "trades"], "No such option: --topics", "--topic"),
    (["sink", "offset", "show"], "No such command 'offset'", "offsets"),
    (["sink", "trades"], "No such command 'trades'", ""),
    (["schema", "checks"], "No such command 'checks'", "check"),
    (["produce", "trades.csv"], "unexpected extra argument", "trades.csv"),
    (["produce", "--input", "."], ".: is a folder", "name one of its files"),
    (["produce", "--input", "/", "--input-format", "csv"], "/: is a folder", "name one of its files"),
]

MISCONFIGURED = [
    (["sink", "--bootstrap-servers", "http://localhost:9092"], "the scheme http://", "give localhost:9092"),
    (["validate", "--bootstrap-servers", "a:1,https://b:2"], "the scheme https://", "give b:2"),
    (["produce", "--bootstrap-servers", "kafka://localhost:9092"], "the scheme kafka://", "give localhost:9092"),
    (["topics", "check", "--bootstrap-servers", "http://a:1/"], "the scheme http://", "give a:1"),
    (["sink", "--bootstrap-servers", ""], "bootstrap.servers: ''", "is empty: brokers are HOST:PORT"),
    (["produce", "--bootstrap-servers", " "], "bootstrap.servers: ''", "is empty: brokers are HOST:PORT"),
    (["validate", "--bootstrap-servers", "a:1,,b:2"], "'' in 'a:1,,b:2'", "is empty"),
    (["produce", "--bootstrap-servers", "localhost:notaport"], "the port 'notaport'", "a number from 1 to 65535"),
    (["sink", "--bootstrap-servers", "a:1,b:99999"], "'b:99999' in 'a:1,b:99999'", "a number from 1 to 65535"),
    (["sink", "offsets", "show", "--bootstrap-servers", "a:1/"], "the port '1/'", "a number from 1 to 65535"),
    (["sink", "--bootstrap-servers", "SSL://a:0"], "'SSL://a:0'", "a number from 1 to 65535"),
    (["produce", "--bootstrap-servers", ":9092"], "':9092'", "brokers are HOST:PORT"),
    (["produce", "--bootstrap-servers", "a:1 b:2"], "the port '1 b:2'", "a number from 1 to 65535"),
    (["produce", "--bootstrap-servers", "me@a:1"], "'me@a:1'", "brokers are HOST:PORT"),
    (["produce", "--bootstrap-servers", "::1"], "'::1'", "IPv6 addresses in brackets"),
    (["dlq", "ls", "--dead-letters", "d", "--bootstrap-servers", "a:x"], "the port 'x'", "a number from 1 to 65535"),
    (["sink", "-X", "client.id="], "client.id=''", "is empty"),
    (["sink", "-X", "group.instance.id= "], "group.instance.id=' '", "is blank"),
    (["sink", "--registry", f"{URL}/subjects"], "names a resource of the API", f"give the URL before it, {URL}"),
    (
        ["sink", "--registry", f"{URL}/apis/ccompat/v7/subjects/trades-value/versions"],
        "resource",
        f"{URL}/apis/ccompat/v7",
    ),
    (["produce", "--registry", "localhost:8081"], "is not one URL such as", "http://localhost:8081"),
    (["schema", "drift", "--registry", "htp://localhost:8081"], "is not one URL such as", "http://localhost:8081"),
    (["schema", "drift", "--registry", "http:/localhost:8081"], "is not one URL such as", "http://localhost:8081"),
    (["sink", "--registry", "http://localhost:port"], "its port is not a number", "http://localhost:8081"),
    (["sink", "--registry", "http://localhost:99999"], "http://localhost:99999", "http://localhost:8081"),
    (["sink", "--registry-proxy", "http://proxy:port"], "proxy is not a valid URL, its port", "http://proxy:3128"),
    # Quotation marks, which a file of variables keeps, and blanks
    (["sink", "--bootstrap-servers", '"a:1"'], "bootstrap.servers", "has a quotation mark around it: remove it"),
    (["produce", "--bootstrap-servers", "'a:1,b:2'"], "bootstrap.servers", "has a quotation mark around it: remove it"),
    (["schema", "drift", "--registry", f'"{URL}"'], "the registry's URL", "has a quotation mark around it: remove it"),
    (["migrate", "current", "--database", f"'{DATABASE}'"], "the database URL", "has a quotation mark around it"),
    (["sink", "--database", f"“{DATABASE}”"], "the database URL", "has a quotation mark around it: remove it"),
    (["migrate", "current", "--database", f"{DATABASE} "], "the database URL", "begins or ends with a blank"),
    (["sink", "--metrics-port", "0", "--metrics-host", "no.host"], "at no.host:0", "--metrics-host"),
    (["sink", "--metrics-port", "0", "--metrics-host", "192.0.2.1"], "at 192.0.2.1:0", "--metrics-host"),
    (["schema", "drift", "--registry", ""], "missing option: --registry", "SCHEMA_REGISTRY_URL"),
    (["sink", "-X", "fetch.max.bytes=abc"], "Kafka property fetch.max.bytes=abc", "not a whole number"),
    (["validate", "-X", "socket.timeout.ms=5s"], "Kafka property socket.timeout.ms=5s", "not a whole number"),
    (["produce", "-X", "log_level=high"], "Kafka property log_level=high", "not a whole number"),
    (["sink", "-X", "sasl.password=\udcff"], "Kafka property sasl.password", "not valid text in UTF-8"),
    (["sink", "--bootstrap-servers", "\udcff:1"], "Kafka property bootstrap.servers", "not valid text in UTF-8"),
    (["sink", "--database", "postgresql://localhost/t\udcff"], "database URL", "not valid text in UTF-8"),
    (["migrate", "current", "--database", "postgresql://localhost/t\udcff"], "database URL", "postgresql://user:"),
    (["sink", "-X", "linger.ms=abc"], "configuration: linger.ms", "Invalid value"),
    (["sink", "-X", "group.id=mine"], "Kafka property group.id=mine is not allowed", "use --group"),
    (["validate", "-X", "transactional.id=t"], "transactional.id=t is not allowed", "use --transactional-id"),
    (["sink", "-X", "no.such=1"], "no.such", "No such configuration property"),
    (
        ["sink", "-X", "acks=1", "-X", "isolation.level=read_uncommitted"],
        "isolation.level=read_committed",
        "not allowed",
    ),
    (["sink", "--database", "sqlite:///trades.db"], "sqlite", "postgresql://"),
    (["sink", "--database", "jdbc:postgresql://localhost/trades"], "database URL", "postgresql://"),
    (["sink", "--database", "host=localhost dbname=trades"], "database URL", "postgresql://"),
    (["migrate", "upgrade", "--database", ""], "database URL", "postgresql://"),
    (["sink", "--rules", "no_such_module:rule"], "no_such_module", "--rules"),
]


def start(*arguments: str, env: dict[str, str] | None = None) -> Done:
    """Run a command that cannot succeed; check that it says so once, without a traceback and without waiting."""
    begin = time.process_time()
    with measure_waiting() as waiting:
        done = console(*arguments, env={**ADDRESSES, **(env or {})})

    assert time.process_time() - begin < CPU_SECONDS
    assert waiting.seconds < WAITING_SECONDS
    assert "Traceback" not in done.err
    assert 1 == sum(line.startswith("Error: ") for line in done.err.splitlines()), done.err
    assert "retrying" not in done.err, "the command connected before it checked"
    assert 10_000 > len(done.err)
    return done


def test_time_in_which_a_command_waits_is_measured_and_time_in_which_it_works_is_not():
    with measure_waiting() as idle:
        select.select([], [], [], 1.2 * WAITING_SECONDS)
    until = time.thread_time() + WAITING_SECONDS
    with measure_waiting() as working:
        while time.thread_time() < until:
            pass

    assert idle.seconds >= WAITING_SECONDS > working.seconds


@pytest.mark.parametrize(
    "arguments",
    [["sink", "--group", ""], ["sink", "-X", "no.such=1"], ["produce", "--bootstrap-servers", "http://a:1"]],
)
def test_a_process_does_not_wait_either(arguments):
    """Neither while Python and the command's modules are loaded, nor at its exit."""
    command = [sys.executable, "-m", "tradepipe", *arguments]
    begin = time.monotonic()
    with subprocess.Popen(command, env={**os.environ, **ADDRESSES}, stderr=subprocess.DEVNULL) as process:
        assert waiting_of(process, begin) < WAITING_SECONDS

    assert process.returncode in (2, 78)


def message(done: Done) -> str:
    """Return the error's text in one line."""
    return " ".join(done.err[done.err.index("Error: ") :].split())


@pytest.mark.parametrize(
    ("arguments", "cause", "step"), USAGE, ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else ""
)
def test_an_invalid_command_line_is_a_usage_error(arguments, cause, step):
    done = start(*arguments)

    assert 2 == done.code
    assert cause in message(done)
    assert step in message(done)


@pytest.mark.parametrize(
    ("arguments", "cause", "step"),
    MISCONFIGURED,
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_an_invalid_configuration_is_reported_at_once(arguments, cause, step):
    done = start(*arguments)

    assert done.code in (2, 78)
    assert cause in message(done)
    assert step in message(done)


@pytest.mark.parametrize(
    ("variable", "value", "cause"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "http://localhost:9092", "the scheme http://"),
        ("KAFKA_BOOTSTRAP_SERVERS", " ", "bootstrap.servers: ''"),
        ("DATABASE_URL", "postgresql://me:secret@localhost:secret/x", "its port is not a number"),
        ("SCHEMA_REGISTRY_URL", f"{URL}/subjects", "names a resource of the API"),
        ("ALL_PROXY", "socks5://me:secret@proxy:1080", "ALL_PROXY"),
        ("HTTP_PROXY", "ftp://me:secret@proxy:21", "HTTP_PROXY"),
        ("TRADEPIPE_BATCH_ROWS", "-1", "'--batch-rows' (env var: 'TRADEPIPE_BATCH_ROWS')"),
        ("TRADEPIPE_KAFKA_PROPERTIES", "acks", "KEY=VALUE"),
        ("DATABASE_URL_FILE", "/does/not/exist", "DATABASE_URL_FILE"),
    ],
)
def test_an_invalid_variable_is_named(variable, value, cause):
    done = start("sink", env={variable: value})

    assert done.code in (2, 78)
    assert cause in message(done)
    assert "secret" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rules", "os:system"],
        ["--start", "now"],
        ["--max-refused", "2"],
        ["-X", "no.such=1"],
        ["--metrics-port", "0", "--metrics-host", "no.host"],
    ],
)
def test_an_invalid_option_is_reported_without_a_warning_of_default_addresses(arguments):
    done = console("sink", *arguments, env={})

    assert done.code in (2, 78)
    assert "default addresses" not in done.err
    assert 1 == done.err.count("Error: ")


def test_default_addresses_are_warned_of_before_the_sink_connects():
    with running("sink", env=ADDRESSES | {"SCHEMA_REGISTRY_URL": ""}) as sink:
        sink.says("is unavailable, retrying")
        first, *_ = sink.err.splitlines()

    assert "using default addresses, because no variable is set: registry http://localhost:8081" in first


def test_a_misspelt_variable_is_warned_of():
    done = console("sink", "--rules", "no_such_module:rule", env={**ADDRESSES, "TRADEPIPE_SINK_GRUOP": "x"})

    assert "the environment variable TRADEPIPE_SINK_GRUOP is ignored; did you mean TRADEPIPE_SINK_GROUP?" in done.err


def test_a_misspelt_variable_is_not_compared_by_the_prefix_of_all():
    done = console("sink", "--rules", "no_such_module:rule", env={**ADDRESSES, "TRADEPIPE_GRUOP": "x"})

    assert "the environment variable TRADEPIPE_GRUOP is ignored, since no command reads it" in done.err


def test_variables_of_other_commands_are_not_warned_of():
    done = console("sink", "--rules", "no_such_module:rule", env={**ADDRESSES, "TRADEPIPE_DRY_RUN": "1"})

    assert "is ignored" not in done.err


def test_a_proxy_in_effect_is_named_without_its_password():
    env = {**ADDRESSES, "http_proxy": "http://me:secret@127.0.0.1:9", "no_proxy": ""}

    done = console("schema", "drift", "--deadline", "0.1", env=env)

    assert 75 == done.code
    assert f"the registry at {URL} (through the proxy http://127.0.0.1:9 of" in message(done)
    assert "secret" not in done.err
