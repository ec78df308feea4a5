"""`tradepipe validate`: valid trades to one topic, all others as dead letters to another."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("validate")
