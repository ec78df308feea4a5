"""docker-compose.yml: the settings of each service, and a pipeline of its services and commands."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGTERM
from urllib.parse import urlsplit

import pytest
from confluent_kafka.admin import AdminClient

from tests.cli.commands import ask
from tests.compose_stack import FILE, ComposedKafka, ComposedRegistry, StandIns, compose_services, environment
from tests.eventually import eventually
from tests.markdown import Document
from tests.services import downloads
from tests.test_operating import execute
from tradepipe.cli import options
from tradepipe.embedded.postgres import Binaries
from tradepipe.embedded.process import free_port
from tradepipe.kafka.admin import TopicAdmin

PROGRAMS = Path(sys.executable).parent
VENDOR_SERVICES = [name for name, service in compose_services().items() if service["restart"] == "unless-stopped"]
SET_UPS = [name for name, service in compose_services().items() if service["restart"] == "no"]
STAGES = [name for name in compose_services() if name not in VENDOR_SERVICES + SET_UPS]
BUILDER = "tradepipe"
ROLES, GRANTS = ((FILE.parent / "docker" / name).read_text() for name in ("roles.sql", "grants.sql"))
OURS = [name for name, service in compose_services().items() if service["image"] == "tradepipe:local"]


def test_the_file_is_what_the_compose_specification_says():
    checked = subprocess.run(
        [PROGRAMS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", FILE],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == checked.returncode, checked.stdout


def test_it_defines_services_setup_commands_and_stages():
    assert ["kafka", "registry", "postgres"] == VENDOR_SERVICES
    assert [BUILDER, "topics", "clean", "dead-letters", "migrate", "grants", "register"] == SET_UPS
    assert ["producer", "validator", "sink"] == STAGES


def test_the_stages_or_only_the_sink_can_be_excluded_and_all_run_by_default():
    profiles = {name: service["profiles"] for name, service in compose_services().items() if "profiles" in service}

    expected = {
        "producer": ["pipeline", "without-sink"],
        "validator": ["pipeline", "without-sink"],
        "sink": ["pipeline"],
    }
    assert expected == profiles
    assert "COMPOSE_PROFILES=pipeline" in (FILE.parent / ".env").read_text().splitlines()


def test_the_default_addresses_of_the_sink_are_those_of_the_published_ports():
    ports = {name: compose_services()[name]["ports"][0].split(":")[1] for name in VENDOR_SERVICES}
    path = urlsplit(environment("sink")["SCHEMA_REGISTRY_URL"]).path

    assert f"localhost:{ports['kafka']}" == options.LOCAL_KAFKA
    assert f"http://localhost:{ports['registry']}{path}" == options.LOCAL_REGISTRY
    assert "CREATE ROLE gorm LOGIN PASSWORD 'gorm' IN ROLE tradepipe_writer" in ROLES
    database = environment("postgres")["POSTGRES_DB"]
    assert f"postgresql://gorm:gorm@localhost:{ports['postgres']}/{database}" == options.LOCAL_DATABASE


def test_one_service_builds_the_image_and_the_others_wait_for_it():
    assert [BUILDER] == [name for name, service in compose_services().items() if "build" in service]
    for name in OURS:
        assert "never" == compose_services()[name]["pull_policy"]
        assert name == BUILDER or BUILDER in _awaited(name)


def test_every_published_port_can_be_changed():
    """And Kafka advertises the port that is published."""
    text = FILE.read_text()

    for variable, port in (("KAFKA_PORT", 9092), ("REGISTRY_PORT", 8081), ("POSTGRES_PORT", 5432)):
        assert f'"127.0.0.1:${{{variable}:-{port}}}:' in text
    assert "MACHINE://localhost:${KAFKA_PORT:-9092}" in text


def test_no_service_connects_as_a_superuser():
    users = {name: urlsplit(environment(name).get("DATABASE_URL", "")).username for name in SET_UPS + STAGES}

    assert {"migrate": "tradepipe_migrator", "sink": "tradepipe_writer"} == {
        name: user for name, user in users.items() if user
    }
    assert environment("migrate")["DATABASE_URL"] == compose_services()["grants"]["command"][-1]


def test_the_roles_have_the_rights_of_the_operating_page():
    page = Document(FILE.parent / "docs" / "operating.md")
    (roles,) = page.blocks("sql", "CREATE ROLE")
    (grants,) = page.blocks("sql", "ON trades, trade_refusals TO tradepipe_writer")

    in_compose = re.sub(r"(tradepipe_\w+ LOGIN PASSWORD) '\w+'", r"\1 'change-me'", ROLES)
    assert [] == [line for line in roles.splitlines() if line not in in_compose.splitlines()]
    assert grants.splitlines() == [line for line in GRANTS.splitlines() if not line.startswith("--")]


def test_the_images_are_those_the_tests_run_on():
    assert f"apache/kafka:{downloads.KAFKA_VERSION}" == compose_services()["kafka"]["image"]
    assert f"apicurio/apicurio-registry:{downloads.REGISTRY_VERSION}" == compose_services()["registry"]["image"]
    assert re.fullmatch(r"postgres:17\.\d+", compose_services()["postgres"]["image"])


@pytest.mark.parametrize("name", [name for name in SET_UPS + STAGES if name != BUILDER])
def test_the_services_a_command_connects_to_are_healthy_before_it_starts(name):
    words = [*environment(name).values(), *compose_services()[name]["command"]]
    hosts = set(re.findall(r"\b(kafka|registry|postgres):\d", " ".join(words)))

    assert hosts
    assert hosts <= _awaited(name)


def _awaited(name: str) -> set[str]:
    """The services that are healthy, or have done their work, before this one starts."""
    kept = {"service_healthy": VENDOR_SERVICES, "service_completed_successfully": SET_UPS}
    awaited = set()
    for other, how in compose_services()[name].get("depends_on", {}).items():
        assert other in kept[how["condition"]]
        awaited |= {other} | _awaited(other)
    return awaited


def test_stages_start_after_the_commands_that_set_them_up():
    set_ups = set(SET_UPS) - {BUILDER}
    assert {"topics", "register"} == _awaited("producer") & set_ups
    assert {"topics", "clean", "dead-letters", "register"} == _awaited("validator") & set_ups
    assert {"topics", "clean", "register", "migrate", "grants"} == _awaited("sink") & set_ups


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_that_needs_an_operator_is_not_restarted_for_ever(name):
    assert re.fullmatch(r"on-failure:\d", compose_services()[name]["restart"])


@pytest.mark.parametrize("name", SET_UPS + STAGES)
def test_the_containers_of_tradepipe_have_a_read_only_disk_and_time_to_end(name):
    service = compose_services()[name]

    assert service["read_only"] is True
    assert "30s" == service["stop_grace_period"]
    assert all(isinstance(word, str) for word in service["command"]), "a list, so that signals reach the command"


@pytest.mark.parametrize("name", list(compose_services()))
def test_no_container_has_capabilities_or_can_gain_privileges(name):
    service = compose_services()[name]

    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]


@pytest.mark.parametrize("name", VENDOR_SERVICES)
def test_ports_are_open_on_this_machine_only(name):
    assert all(port.startswith("127.0.0.1:") for port in compose_services()[name]["ports"])


@pytest.fixture(scope="module")
def composed() -> Iterator[tuple[ComposedKafka, ComposedRegistry]]:
    """Kafka and the registry, configured by the file."""
    with ComposedKafka() as kafka, ComposedRegistry(kafka) as registry:
        yield kafka, registry


@pytest.fixture
def here(composed, database) -> Iterator[StandIns]:
    """The file's texts, with its addresses replaced by those of this run; its roles exist as long as the test."""
    kafka, registry = composed
    url = urlsplit(database)
    execute(database, ROLES.replace("DATABASE trades", f"DATABASE {url.path[1:]}"))
    ports = {"9100": free_port(), "9101": free_port()}
    address = {"postgres:5432/trades": f"127.0.0.1:{url.port}{url.path}"}
    yield StandIns({**ports, **kafka.stand_ins, **registry.stand_ins, **address})
    for role in re.findall(r"CREATE ROLE (\w+)", ROLES):
        execute(database, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def command(name: str, here: StandIns) -> dict:
    """What a service runs: the image's entry point, with the file's command and environment."""
    given = {variable: here(value) for variable, value in environment(name).items()}
    return {
        "args": [PROGRAMS / "tradepipe", *compose_services()[name]["command"]],
        "env": {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **given},
        "text": True,
    }


def health(name: str, here: StandIns) -> int:
    """How a service's health check ends, with the programs of this Python before the system's."""
    check = [here(word) for word in compose_services()[name]["healthcheck"]["test"][1:]]
    path = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    return subprocess.run(check, env=path, capture_output=True, check=False, timeout=100).returncode


@contextmanager
def running(name: str, here: StandIns, log: Path) -> Iterator[subprocess.Popen]:
    """A service's process, and in `log` what it says; killed in the end if need be."""
    with log.open("w") as said, subprocess.Popen(**command(name, here), stdout=said, stderr=said) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.real
def test_the_services_make_a_pipeline(composed, here, database, tmp_path):
    """Set-up to its end; then the stages, which store what is valid, and end with 0 when they are asked to."""
    for name in SET_UPS:
        if name == "grants":  # by psql, which this machine need not have
            execute(here(environment("migrate")["DATABASE_URL"]), GRANTS)
            continue
        done = subprocess.run(**command(name, here), capture_output=True, timeout=200, check=False)
        assert 0 == done.returncode, done.stderr

    logs = {name: tmp_path / name for name in STAGES}
    with ExitStack() as started:
        processes = [started.enter_context(running(name, here, log)) for name, log in logs.items()]
        eventually(lambda: ask(database, "SELECT count(*) FROM trades")[0][0] >= 50)
        eventually(lambda: letters(composed[0]))
        assert [0, 0] == [health(name, here) for name in ("validator", "sink")]
        for process in processes:
            process.send_signal(SIGTERM)
        codes = [process.wait(timeout=200) for process in processes]

    assert [0] * len(STAGES) == codes, [log.read_text()[-2000:] for log in logs.values()]
    assert re.search(r"^Stored trade with ID \S+ and version 1$", logs["sink"].read_text(), re.MULTILINE)
    assert [] == ask(database, "SELECT codes FROM trade_refusals")


def letters(kafka: ComposedKafka) -> int:
    """How many records the topic of dead letters holds."""
    admin = TopicAdmin({"bootstrap.servers": f"127.0.0.1:{kafka.for_machine}"})
    return sum(extent.high for extent in admin.watermarks("trades.dlq", range(4)).values())


@pytest.mark.real
def test_kafka_advertises_an_address_that_each_side_can_reach(composed):
    kafka, _ = composed

    for port in (kafka.for_containers, kafka.for_machine):
        brokers = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"}).list_topics(timeout=60).brokers
        assert [("127.0.0.1", port)] == [(broker.host, broker.port) for broker in brokers.values()]


@pytest.mark.real
def test_the_registry_keeps_its_schemas_in_kafka_in_one_order(composed):
    """In one partition: it reads them again at its start, and a version must not overtake another."""
    kafka, _ = composed
    topics = AdminClient({"bootstrap.servers": f"127.0.0.1:{kafka.for_machine}"}).list_topics(timeout=60).topics

    assert 1 == len(topics["kafkasql-journal"].partitions)


@pytest.mark.real
def test_the_health_check_of_the_registry_succeeds(here):
    assert 0 == health("registry", here)


@pytest.mark.real
@pytest.mark.parametrize("name", ["registry", "validator", "sink"])
def test_a_health_check_fails_without_a_server(name):
    nobody = free_port()

    assert 0 != health(name, StandIns({"/8080": f"/{nobody}", ":9100": f":{nobody}", ":9101": f":{nobody}"}))


@pytest.mark.real
def test_the_health_check_of_postgresql_succeeds(services):
    program, *arguments = compose_services()["postgres"]["healthcheck"]["test"][1:]
    binaries = Binaries.debian() or Binaries.find()
    if not (binaries.folder / program).exists():
        pytest.skip(f"{binaries.folder} has no {program}")
    port = urlsplit(services.postgres_url).port

    assert 0 == subprocess.run([binaries.folder / program, *arguments, f"--port={port}"], check=False).returncode
