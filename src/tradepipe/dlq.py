"""`tradepipe dlq`: list, inspect, replay and export dead letters."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("dlq")
