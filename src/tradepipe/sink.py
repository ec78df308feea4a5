"""`tradepipe sink`: trades from a topic into PostgreSQL."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("sink")
