"""Sample schema with every kind of field that the codec supports, independent of the trade schema."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from io import BytesIO
from typing import Annotated, NamedTuple

import fastavro
from hypothesis import strategies as st

from tradepipe.codec import decoder, encoder, fields
from tradepipe.codec.admission import parse_writer_schema
from tradepipe.codec.copy_rows import fields_packer
from tradepipe.trade.constraints import Digits, Key, PartitionKey
from tradepipe.trade.declaration import declare


class Side(StrEnum):
    UNKNOWN = "UNKNOWN"
    BUY = "BUY"
    SELL = "SELL"


class Sample(NamedTuple):
    trade_id: Annotated[str, Key(), PartitionKey()]
    version: int
    maturity_date: date
    created_at: datetime
    side: Side
    notional: Annotated[Decimal | None, Digits(18, 4)]
    currency: str | None


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4}
SIDE = {"type": "enum", "name": "Side", "symbols": [*Side], "default": "UNKNOWN"}
DATE = {"type": "int", "logicalType": "date"}
INSTANT = {"type": "long", "logicalType": "timestamp-micros"}

SCHEMA = {
    "type": "record",
    "name": "Sample",
    "fields": [
        {"name": "trade_id", "type": "string"},
        {"name": "version", "type": "int"},
        {"name": "maturity_date", "type": DATE},
        {"name": "created_at", "type": INSTANT},
        {"name": "side", "type": SIDE, "default": "UNKNOWN"},
        {"name": "notional", "type": ["null", DECIMAL], "default": None},
        {"name": "currency", "type": ["null", "string"], "default": None},
    ],
}

CODEC = fields.record_codec(SCHEMA, declare(Sample))

SAMPLE = Sample(
    "T1", 1, date(2030, 1, 1), datetime(2025, 6, 1, 12, tzinfo=UTC), Side.BUY, Decimal("1234567.2500"), "EUR"
)

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=70)
DECIMALS = st.integers(-(10**18) + 1, 10**18 - 1).map(lambda number: Decimal(number).scaleb(-4))
SAMPLES = st.builds(
    Sample,
    trade_id=TEXTS,
    version=st.integers(-(2**31), 2**31 - 1),
    maturity_date=st.dates(),
    created_at=st.datetimes(timezones=st.just(UTC)),
    side=st.sampled_from(Side),
    notional=st.none() | DECIMALS,
    currency=st.none() | TEXTS,
)

pack_fields = fields_packer(CODEC.declaration)

encode = encoder.generate_encoder(CODEC).compile("encode", "encode a sample")


def make_decoder(writer=SCHEMA):
    """Build a decoder of a writer schema into samples."""
    return decoder.generate_decoder(parse_writer_schema(writer), CODEC, 1).compile("decode", "decode a sample")


def by_fastavro(writer, body):
    """Decode a sample with fastavro; return it and the number of bytes read."""
    stream = BytesIO(body)
    reader = fastavro.parse_schema(json.loads(json.dumps(SCHEMA)))
    fields = fastavro.schemaless_reader(stream, fastavro.parse_schema(json.loads(json.dumps(writer))), reader)
    return Sample(**fields | {"side": Side(fields["side"])}), stream.tell()


def written(writer, fields):
    """Encode a record with fastavro."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(json.loads(json.dumps(writer))), fields)
    return stream.getvalue()
