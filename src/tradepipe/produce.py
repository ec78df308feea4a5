"""`tradepipe produce`: made-up trades into a topic."""

from tradepipe.cli.exit_codes import run
from tradepipe.cli.produce import app

if __name__ == "__main__":
    run(app, "tradepipe produce")
