"""`tradepipe sink`: store trades of a topic in PostgreSQL."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("sink")
