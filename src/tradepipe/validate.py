"""`tradepipe validate`: valid trades to one topic, all others as dead letters to another."""

from tradepipe.cli.exit_codes import run
from tradepipe.cli.validate import app

if __name__ == "__main__":
    run(app, "tradepipe validate")
