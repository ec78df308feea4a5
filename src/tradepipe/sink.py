"""`tradepipe sink`: trades from a topic into PostgreSQL."""

from tradepipe.cli.exit_codes import run
from tradepipe.cli.sink import app

if __name__ == "__main__":
    run(app, "tradepipe sink")
