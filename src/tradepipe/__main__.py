"""`python -m tradepipe`: the command line `tradepipe`."""

from tradepipe.cli.main import run

if __name__ == "__main__":
    run()
