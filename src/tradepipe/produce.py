"""`tradepipe produce`: made-up trades into a topic."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("produce")
