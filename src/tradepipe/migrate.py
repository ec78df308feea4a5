"""`tradepipe migrate`: upgrade the database, and draft the next revision."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("migrate")
