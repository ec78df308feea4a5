"""`tradepipe topics`: topics as the pipeline needs them."""

from tradepipe.cli.exit_codes import run
from tradepipe.cli.topics import app

if __name__ == "__main__":
    run(app, "tradepipe topics")
