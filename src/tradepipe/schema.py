"""`tradepipe schema`: the trade schema and the registry."""

from tradepipe.cli.exit_codes import run
from tradepipe.cli.schema.commands import app

if __name__ == "__main__":
    run(app, "tradepipe schema")
