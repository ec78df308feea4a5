"""`python -m tradepipe.embedded`: the command `tradepipe embedded`."""

from tradepipe.cli.embedded import app
from tradepipe.cli.exit_codes import run

if __name__ == "__main__":
    run(app, "tradepipe embedded")
