"""`tradepipe validate`: copy valid trades to one topic, and dead letters to another."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("validate")
