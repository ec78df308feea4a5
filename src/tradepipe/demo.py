"""`tradepipe demo`: the whole pipeline on this machine."""

from tradepipe.cli.demo import app
from tradepipe.cli.exit_codes import run

if __name__ == "__main__":
    run(app, "tradepipe demo")
