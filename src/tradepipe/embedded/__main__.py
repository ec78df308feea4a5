"""`python -m tradepipe.embedded`: all services of the pipeline, until interrupted."""

from tradepipe.embedded.stack import main

if __name__ == "__main__":
    main()
