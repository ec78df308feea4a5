"""`tradepipe dlq`: refused records found, read, and put back."""

from tradepipe.cli.dlq.commands import app
from tradepipe.cli.exit_codes import run

if __name__ == "__main__":
    run(app, "tradepipe dlq")
