"""`schema show`: what a build has of its own schema."""

import traceback

import pytest
from typer.testing import CliRunner

from tradepipe.cli.schema.commands import app
from tradepipe.codec.codec import Decoder, encoder_source, row_source
from tradepipe.errors import UndecodableRecord
from tradepipe.evolution.history import current, versions


def show(*arguments):
    done = CliRunner().invoke(app, ["show", *arguments])
    return done.exit_code, done.output


def test_without_a_version_it_is_the_one_that_is_written():
    assert (0, current().text) == show()


@pytest.mark.parametrize("name", ["1", "v001", "v001.avsc"])
def test_a_version_goes_by_its_number_or_its_file(name):
    assert (0, versions()[0].text) == show(name)


def test_the_line_that_a_traceback_names_is_the_line_shown():
    with pytest.raises(UndecodableRecord) as raised:
        Decoder(versions()[0].text, 7).decode(b"\x06abc")
    cause = raised.value.__cause__
    (frame,) = traceback.extract_tb(cause.__traceback__)

    shown = show("1", "--as", "decode")[1].splitlines()

    assert "<tradepipe: decode of schema id 7>" == frame.filename
    assert frame.line == shown[frame.lineno - 1].strip()


def test_the_rest_of_the_code_is_shown_too():
    assert (0, row_source(versions()[0].text)) == show("1", "--as", "copy_row")
    assert (0, encoder_source()) == show("--as", "encode")
    assert show("--as", "quick_check")[1].startswith("def quick_check(_body):\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["9"], "9 is none of the versions of this build"),
        (["trade.avsc"], "trade.avsc is none of the versions of this build"),
        (["1", "--as", "encode"], "leave VERSION out"),
        (["--as", "java"], "'copy_row'"),
    ],
)
def test_what_is_not_there_is_a_usage_error(arguments, told):
    code, out = show(*arguments)

    assert 2 == code
    assert told in " ".join(out.split())
