"""`tradepipe schema`: check, release and register versions of the trade schema."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("schema")
