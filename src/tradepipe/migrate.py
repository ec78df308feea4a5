"""`tradepipe migrate`: the database to this build's revision."""

from tradepipe.cli.exit_codes import run
from tradepipe.cli.migrate import app

if __name__ == "__main__":
    run(app, "tradepipe migrate")
