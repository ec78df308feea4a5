"""`python -m tests.golden_record`: encode the golden record of the current schema version from its JSON file."""

from pathlib import Path

from tradepipe.codec.codec import Encoder
from tradepipe.evolution.history import current, golden_file, golden_trade

if __name__ == "__main__":
    number = current().number
    body = Path(str(golden_file(number, "bin")))
    if body.exists():
        raise SystemExit(f"{body.name} exists: the golden record of a released version is never changed")
    body.write_bytes(Encoder().encode(golden_trade(number)))
    print(f"wrote {body}")
