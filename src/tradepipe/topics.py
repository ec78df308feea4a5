"""`tradepipe topics`: topics as the pipeline needs them."""

from tradepipe.entry import run_command

if __name__ == "__main__":
    run_command("topics")
