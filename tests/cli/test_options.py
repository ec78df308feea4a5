"""The options all commands share: where values come from, which one wins, and that no password is shown."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import typer
import typer.main

from tests.cli.commands import run_command
from tradepipe import redaction
from tradepipe.cli.main import app
from tradepipe.cli.options import parse_pairs
from tradepipe.cli.settings import Kafka, read_properties, read_variable

CANARY = "canary-7f3a"
"""A password that must be seen nowhere."""

NOWHERE = "127.0.0.1:1"

COMMAND = typer.main.get_command(app)


ONE_TOPIC = {"TRADEPIPE_TOPIC", "TRADEPIPE_DEAD_LETTERS", "TRADEPIPE_LIKE"}
"""Variables that name one topic to commands that do different things with it."""


def all_parameters(command: Any) -> Iterator[Any]:
    """Yield the options and arguments of a command and its subcommands."""
    yield from command.params
    for subcommand in getattr(command, "commands", {}).values():
        yield from all_parameters(subcommand)


def test_a_variable_has_one_meaning_in_all_commands():
    meanings = defaultdict(set)
    for parameter in all_parameters(COMMAND):
        if isinstance(parameter.envvar, str) and parameter.envvar.startswith("TRADEPIPE_"):
            meanings[parameter.envvar].add((parameter.opts[-1], parameter.help))

    assert ONE_TOPIC == {variable for variable, found in meanings.items() if len(found) > 1}


def test_every_option_is_described():
    assert [] == [each.opts for each in all_parameters(COMMAND) if not each.help]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "kafka.properties"


def test_a_file_of_properties_is_read_as_kafkas_own_tools_read_it(path):
    path.write_text("\ufeff# ours\n\nbootstrap.servers = a:1,b:2\r\n  sasl.jaas.config=x y=z; \n")

    assert {"bootstrap.servers": "a:1,b:2", "sasl.jaas.config": "x y=z;"} == read_properties(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"acks\n", ":1: not KEY=VALUE"),
        (b"\nsasl.password canary-7f3a\n", ":2: not KEY=VALUE"),
        (b"=x\n", ":1: not KEY=VALUE"),
        (b"a=1\na=2\n", ":2: a is given twice"),
        (b"a=\xff\n", " is not UTF-8 text"),
    ],
)
def test_an_invalid_file_of_properties_is_refused(path, content, message):
    path.write_bytes(content)

    with pytest.raises(typer.BadParameter) as refused:
        read_properties(str(path))

    assert f"{path}{message}" == refused.value.message


def test_a_dedicated_option_overrides_a_property():
    given = {"bootstrap_servers": "a:1", "properties": ["bootstrap.servers=b:2", "acks=all"], "kafka_config": None}

    assert Kafka({"bootstrap.servers": "a:1", "acks": "all"}) == Kafka.resolve(typer.Context(COMMAND), given, None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sasl.password", "'sasl.password'"),
        (f"sasl.password:{CANARY}", "'sasl.password'"),
        (CANARY, "a value without a key"),
    ],
)
def test_only_the_key_of_an_invalid_pair_is_shown(text, shown):
    with pytest.raises(typer.BadParameter) as refused:
        parse_pairs([text], option="-X")

    assert f"must be KEY=VALUE, not {shown}" == refused.value.message


def test_a_variable_may_be_given_by_a_file(tmp_path):
    file = tmp_path / "url"
    file.write_text("postgresql://db/trades\n")

    assert "postgresql://db/trades" == read_variable("DATABASE_URL", {"DATABASE_URL_FILE": str(file)})
    assert "x" == read_variable("DATABASE_URL", {"DATABASE_URL": "x", "DATABASE_URL_FILE": ""})
    assert read_variable("DATABASE_URL", {}) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"\xff", "is not UTF-8 text"), (b"x" * 65_537, "is larger than 65,536")],
)
def test_a_file_that_is_no_value_is_refused(tmp_path, content, message):
    file = tmp_path / "value"
    file.write_bytes(content)

    with pytest.raises(typer.BadParameter, match=message):
        read_variable("DATABASE_URL", {"DATABASE_URL_FILE": str(file)})


def test_a_secret_is_masked_literally_and_percent_encoded(monkeypatch):
    monkeypatch.setattr(redaction, "_registered", set())
    redaction.register_secret("pa/ss%wörd")

    assert "*** and ***" == redaction.redact("pa/ss%wörd and pa%2Fss%25w%C3%B6rd")


@pytest.mark.parametrize(
    "arguments",
    [
        "upgrade --database=postgresql://me:{canary}@{nowhere}/trades",
        "upgrade --database=postgresql://{nowhere}/trades?password={canary}",
        "upgrade --database=postgresql://me:{canary}@{nowhere}/trades --nonsense",
        "upgrade --database=postgresql://me:{canary}@host:port/trades",
        "upgrade --database=mysql://me:{canary}@{nowhere}/trades",
        "upgrade --database=postgresql://me:{canary}@{nowhere}/trades --help",
        "upgrade --database=postgresql://me:{canary}@{nowhere}/trades --log-format=json --log-level=debug",
        "current --database=postgresql://me:{canary}@{nowhere}/trades {canary_url}",
        "draft --database=postgresql://me:{canary}@{nowhere}/trades --log-level=debug",
    ],
)
def test_the_password_of_a_database_url_is_never_shown(arguments):
    url = f"postgresql://me:{CANARY}@{NOWHERE}/trades"
    done = run_command(
        "migrate",
        *arguments.format(canary=CANARY, nowhere=NOWHERE, canary_url=url).split(),
        env={"TRADEPIPE_DEADLINE": "0.2"},
    )

    assert CANARY not in done.out + done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("migrate", "upgrade"),
        ("migrate", "current"),
        ("migrate", "upgrade --help"),
        ("sink", "--max-refused=2"),
        ("sink", "--help"),
    ],
)
def test_a_password_from_a_file_is_never_shown(tmp_path, name, arguments):
    file = tmp_path / "url"
    file.write_text(f"postgresql://me:{CANARY}@{NOWHERE}/trades\n")
    env = {
        "DATABASE_URL_FILE": str(file),
        "TRADEPIPE_DEADLINE": "0.2",
        "KAFKA_BOOTSTRAP_SERVERS": NOWHERE,
        "SCHEMA_REGISTRY_URL": f"http://me:{CANARY}@{NOWHERE}",
        "TRADEPIPE_KAFKA_PROPERTIES": "no.such.property=1",
    }

    done = run_command(name, *arguments.split(), env=env)

    assert CANARY not in done.out + done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        "-X sasl.password={canary}",
        "-X sasl.password:{canary}",
        "-X sasl.password={canary} --help",
        "-X sasl.password={canary} -X security.protocol=SASL_PLAINTEXT -X sasl.mechanism=NONE",
        "-X sasl.password={canary} --nonsense",
        "-X sasl.password={canary} -X debug=all --log-level=debug",
        "-X ssl.key.password={canary} -X no.such={canary}",
    ],
)
def test_a_password_of_kafka_is_never_shown(arguments):
    done = run_command(
        "topics",
        "create",
        *arguments.format(canary=CANARY).split(),
        env={"KAFKA_BOOTSTRAP_SERVERS": NOWHERE, "TRADEPIPE_DEADLINE": "0.5"},
    )

    assert CANARY not in done.out + done.err
    assert "Traceback" not in done.err


def test_a_password_that_ps_shows_is_warned_of():
    url, env = f"postgresql://me:{CANARY}@{NOWHERE}/trades", {"TRADEPIPE_DEADLINE": "0.2"}
    typed = run_command("migrate", "current", f"--database={url}", env=env)
    quiet = run_command("migrate", "current", env=env | {"DATABASE_URL": url})
    draft = run_command("migrate", "draft", f"--database={url}", env=env)
    kafka = run_command("topics", "create", "-X", f"sasl.password={CANARY}", f"--bootstrap-servers={NOWHERE}", env=env)

    warning = "the password in --database is visible to other users in the process list: use DATABASE_URL or"
    assert warning in typed.err
    assert "process list" not in quiet.err
    assert "in the process list: use a file named by PGPASSFILE instead" in draft.err
    assert "-X sasl.password is visible to other users" in kafka.err
    assert "or KAFKA_SASL_PASSWORD" in kafka.err


def test_a_passphrase_is_a_password():
    name = "sasl.oauthbearer.assertion.private.key.passphrase"
    options = ("-X", f"{name}={CANARY}", f"--bootstrap-servers={NOWHERE}")
    done = run_command("topics", "create", *options, env={"TRADEPIPE_DEADLINE": "0.2"})

    assert f"-X {name} is visible to other users" in done.err
    assert CANARY not in done.out + done.err


def test_properties_come_from_file_then_variable_then_option(ready, topic, path):
    """Of one property, the last of these wins; each is refused by name where it is wrong."""
    wrong = ("-X", "security.protocol=WRONG")
    path.write_text(f"bootstrap.servers={ready['KAFKA_BOOTSTRAP_SERVERS']}\nsecurity.protocol=wrong-too\n")
    env = {**ready, "KAFKA_BOOTSTRAP_SERVERS": "", "TRADEPIPE_KAFKA_CONFIG": str(path)}

    of_file = run_command("topics", "create", env=env)
    of_option = run_command("topics", "create", *wrong, env=env)
    right = run_command("topics", "create", "-X", "security.protocol=plaintext", env=env)

    assert (78, True) == (of_file.code, "wrong-too" in of_file.err), of_file.err
    assert (78, True) == (of_option.code, "WRONG" in of_option.err), of_option.err
    assert (0, f"topic {topic} already exists with 4 partitions\n") == right[:2], right.err


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"DATABASE_URL": "x", "DATABASE_URL_FILE": "y"}, "DATABASE_URL and DATABASE_URL_FILE are both set"),
        ({"DATABASE_URL_FILE": "/missing"}, "DATABASE_URL_FILE: the file '/missing' is not readable"),
        ({"DATABASE_URL": "x", "TRADEPIPE_LOG_FORMAT": "xml"}, "'xml' is not one of 'text', 'json'"),
    ],
)
def test_an_invalid_variable_is_a_usage_error(env, message):
    done = run_command("migrate", "current", env=env)

    assert 2 == done.code
    assert message in done.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("env", "code", "message"),
    [
        ({"SCHEMA_REGISTRY_USER": "me"}, 2, "SCHEMA_REGISTRY_USER and SCHEMA_REGISTRY_PASSWORD"),
        ({"SCHEMA_REGISTRY_PASSWORD": CANARY}, 2, "SCHEMA_REGISTRY_USER and SCHEMA_REGISTRY_PASSWORD"),
        ({"SCHEMA_REGISTRY_HEADERS": CANARY}, 2, "must be NAME: VALUE, one per line"),
        ({"SCHEMA_REGISTRY_CA_LOCATION": "/missing"}, 78, "/missing"),
        ({"SCHEMA_REGISTRY_CLIENT_KEY": "/missing"}, 78, "client_cert"),
        ({"SCHEMA_REGISTRY_PROXY": "ftp://x"}, 78, "proxy"),
        (
            {"SCHEMA_REGISTRY_USER": "me", "SCHEMA_REGISTRY_PASSWORD": CANARY, "SCHEMA_REGISTRY_TOKEN": CANARY},
            78,
            "basic_auth and bearer_token",
        ),
    ],
)
def test_the_credentials_for_the_registry_are_checked(env, code, message):
    done = run_command("schema", "register", env={"SCHEMA_REGISTRY_URL": f"http://{NOWHERE}", **env})

    assert (code, True) == (done.code, message in done.err.splitlines()[-1]), done.err
    assert CANARY not in done.err


@pytest.mark.parametrize("variable", ["--kafka-config", "KAFKA_SASL_PASSWORD_FILE"])
def test_a_secret_that_all_may_read_is_warned_of(variable, tmp_path):
    file = tmp_path / "secret"
    file.write_text("sasl.password=canary-7f3a" if variable.startswith("-") else CANARY)
    given = ([variable, str(file)], {}) if variable.startswith("-") else ([], {variable: str(file)})

    for mode, warnings in ((0o604, 1), (0o600, 0)):
        file.chmod(mode)
        done = run_command(
            "topics", "check", "--deadline=0.1", f"--bootstrap-servers={NOWHERE}", *given[0], env=given[1]
        )
        assert warnings == done.err.count(f"all users of this machine can read {file}: run chmod 600"), done.err
