"""`tradepipe topics`: create and check topics."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("topics")
