"""Command `python -m tests.fuzz`: exits with 1 if an input gives neither a trade nor a tradepipe error."""

import argparse
import sys
import time

from tests.fuzz.run import MEBIBYTES, SECONDS, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Answer hostile inputs.")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begin = time.monotonic()
    outcome = run(options.count, options.seed)
    for (kind, answer), count in sorted(outcome.answers.items()):
        print(f"{kind:<14} {answer:<18} {count:>9,}")
    for kind, seconds in outcome.slowest.items():
        print(f"{kind:<14} slowest {seconds * 1_000:,.1f} ms of CPU (bound {SECONDS * 1_000:,.0f} ms)")
    print(f"grown by {outcome.growth:.1f} MiB after the first tenth (bound {MEBIBYTES} MiB)")
    print(f"{options.count:,} inputs of seed {options.seed} in {time.monotonic() - begin:.0f} s")
    print(*outcome.failures[:20], sep="\n")
    return 1 if outcome.failures or outcome.growth > MEBIBYTES else 0


if __name__ == "__main__":
    sys.exit(main())
