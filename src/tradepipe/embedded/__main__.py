"""`python -m tradepipe.embedded`: the command `tradepipe embedded`."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("embedded")
