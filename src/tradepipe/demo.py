"""`tradepipe demo`: the whole pipeline on this machine."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("demo")
