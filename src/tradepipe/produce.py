"""`tradepipe produce`: send trades from a file, or sample trades, to a topic."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("produce")
