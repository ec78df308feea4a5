"""`tradepipe dlq`: refused records found, read, and put back."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("dlq")
