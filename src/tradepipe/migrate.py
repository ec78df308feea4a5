"""`tradepipe migrate`: the database to this build's revision."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("migrate")
