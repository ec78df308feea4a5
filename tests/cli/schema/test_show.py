"""`schema show`: a version of the trade schema."""

import pytest
from typer.testing import CliRunner

from tradepipe.cli.schema.commands import app
from tradepipe.evolution.history import current, versions


def show(*arguments):
    done = CliRunner().invoke(app, ["show", *arguments])
    return done.exit_code, done.output


def test_without_a_version_the_newest_is_printed():
    assert (0, current().text) == show()


@pytest.mark.parametrize("name", ["1", "v001", "v001.avsc"])
def test_a_version_is_named_by_its_number_or_its_file(name):
    assert (0, versions()[0].text) == show(name)


@pytest.mark.parametrize("name", ["9", "trade.avsc"])
def test_an_unknown_version_is_a_usage_error(name):
    code, out = show(name)

    assert 2 == code
    assert f"not {name}" in " ".join(out.split())
