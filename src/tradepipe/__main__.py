"""`python -m tradepipe`: the command line `tradepipe`."""

from tradepipe.entry import run

if __name__ == "__main__":
    run()
