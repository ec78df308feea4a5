"""Records that confluent_kafka would not send, sent by librdkafka itself."""

import ctypes
from importlib.metadata import files

_END, _TOPIC, _PARTITION, _VALUE, _MSGFLAGS, _HEADERS = 0, 1, 3, 4, 7, 10
_COPY = 2
"""The tags of rd_kafka_producev's arguments, and a flag, as rdkafka.h numbers them."""


def send_with_header(bootstrap_servers: str, topic: str, name: bytes, *, count: int = 1) -> None:
    """Send records to partition 0 that have a header whose name is any bytes."""
    library = _library()
    conf, said = ctypes.c_void_p(library.rd_kafka_conf_new()), ctypes.create_string_buffer(512)
    library.rd_kafka_conf_set(conf, b"bootstrap.servers", bootstrap_servers.encode(), said, 512)
    client = ctypes.c_void_p(library.rd_kafka_new(0, conf, said, 512))
    for _ in range(count):
        _produce(library, client, topic, name)
    assert 0 == library.rd_kafka_flush(client, 20_000)
    library.rd_kafka_destroy(client)


def _produce(library: ctypes.CDLL, client: ctypes.c_void_p, topic: str, name: bytes) -> None:
    headers, number = ctypes.c_void_p(library.rd_kafka_headers_new(1)), ctypes.c_int
    library.rd_kafka_header_add(headers, name, ctypes.c_ssize_t(len(name)), b"value", ctypes.c_ssize_t(5))
    error = library.rd_kafka_producev(
        client,
        *(number(_TOPIC), ctypes.c_char_p(topic.encode())),
        *(number(_PARTITION), ctypes.c_int32(0)),
        *(number(_VALUE), ctypes.c_char_p(b"value"), ctypes.c_size_t(5)),
        *(number(_MSGFLAGS), number(_COPY)),
        *(number(_HEADERS), headers),
        number(_END),
    )
    assert 0 == error


def _library() -> ctypes.CDLL:
    """Load the librdkafka of confluent_kafka."""
    found = next(file for file in files("confluent-kafka") or () if "librdkafka" in file.name)
    library = ctypes.CDLL(str(found.locate()))
    for maker in (library.rd_kafka_conf_new, library.rd_kafka_new, library.rd_kafka_headers_new):
        maker.restype = ctypes.c_void_p
    return library
