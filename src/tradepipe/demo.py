"""`tradepipe demo`: run the whole pipeline on embedded services."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("demo")
