"""`python -m tests.sample_csv FILE`: write a hundred sample trades as CSV, and print the header."""

import csv
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from tradepipe.trade.json_values import to_json
from tradepipe.trade.model import DECLARATION
from tradepipe.trade.samples import trades
from tradepipe.trade.types import Type


def cell(type_: Type, value: Any) -> str:
    if value is None:
        return ""
    text = to_json(type_, value)
    return text if type_.is_nested else text.strip('"').replace("\\\\x", "0x")


if __name__ == "__main__":
    with Path(sys.argv[1]).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in DECLARATION.fields])
        for trade in islice(trades(7), 100):
            writer.writerow([cell(field.type, value) for field, value in zip(DECLARATION.fields, trade, strict=True)])
    print(",".join(field.name for field in DECLARATION.fields))
