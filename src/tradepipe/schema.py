"""`tradepipe schema`: the trade schema and the registry."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("schema")
