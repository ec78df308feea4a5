"""
`python -m benchmarks.validator`: the validator on real services, beside a copy that looks at nothing.

The same bytes, the same transactions, the same run: what counts is the ratio.
Ends with 1 unless what passed is what was published, every record once.
"""

import argparse
import logging
import os
import sys
import threading
import time
from typing import NamedTuple

from benchmarks.baseline_copy import Rate, content, copy
from benchmarks.publish_trades import Published, publish
from benchmarks.report import line, machine, spread
from tests.services.real import RealServices
from tradepipe import Validator
from tradepipe.cli.stage_runner import tune_garbage_collection

SAMPLE_EVERY = 0.02
MIB = 2**20


class Run(NamedTuple):
    """
    One validator from its start to the end of the topic.

    `rate` counts from the first commit that was seen to the last, `cpu` is the
    time of its own process, in µs a record; `memory` is resident, in MiB, as
    it was sampled from the first commit on.
    """

    rate: float
    cpu: float
    memory: list[float]


def main() -> int:
    options = _options()
    logging.basicConfig(level=logging.ERROR)
    services = RealServices()
    tune_garbage_collection()  # as the command does
    try:
        return _measure(services, options)
    finally:
        services.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.validator", description="Measure the validator on real services."
    )
    parser.add_argument("--trades", type=int, default=200_000, help="how many are published")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--batch-records", type=int, default=10_000, help="records in one transaction, of both")
    parser.add_argument("--runs", type=int, default=3, help="of the validator and of the copy, in turn")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _measure(services: RealServices, options: argparse.Namespace) -> int:
    line("machine", machine(services))
    published = publish(services, count=options.trades, partitions=options.partitions, seed=options.seed)
    wanted = content(published, published.topic)
    bare, copies, runs, holds = [], [], [], []
    for number in range(options.runs):
        names = [f"{published.topic}-{kind}-{number}" for kind in ("bare", "copy", "clean", "dlq")]
        for name in names:
            config = {"max.message.bytes": "2000000"}
            services.kafka.create_topic(name, partitions=options.partitions, config=config)
        bare.append(_rate(copy(published, names[0], batch=options.batch_records, whole=False)))
        copies.append(_rate(copy(published, names[1], batch=options.batch_records, whole=True)))
        runs.append(_validate(published, *names[2:], group=f"validator-{number}", batch=options.batch_records))
        holds.append(content(published, names[2]) == wanted and content(published, names[3])[0] == 0)
    line("copy of keys and values, records/s", spread(bare))
    line("copy with timestamps and headers, records/s", spread(copies))
    line("validator, records/s", spread([run.rate for run in runs]))
    line("ratio to keys and values", spread([run.rate / raw for run, raw in zip(runs, bare, strict=True)], 2))
    line("ratio to whole records", spread([run.rate / raw for run, raw in zip(runs, copies, strict=True)], 2))
    line("validator, CPU µs a record", spread([run.cpu for run in runs], 1))
    line("validator, MiB at its first and last commit", f"{runs[-1].memory[0]:.0f}, {runs[-1].memory[-1]:.0f}")
    line("same content, every record once", "yes" if all(holds) else "NO")
    return 0 if all(holds) else 1


def _validate(published: Published, clean: str, dead_letters: str, *, group: str, batch: int) -> Run:
    """Run one validator in this process."""
    cpu, rates, memory = time.process_time(), list[Rate](), list[float]()
    with Validator(
        published.kafka,
        registry=published.registry,
        topic=published.topic,
        clean=clean,
        dead_letters=dead_letters,
        subject=published.subject,
        group=group,
        batch_records=batch,
    ) as validator:
        running = threading.Thread(target=validator.run, kwargs={"until_end": True})
        running.start()
        while running.is_alive():
            running.join(SAMPLE_EVERY)
            passed = validator.counts.passed
            if passed > (rates[-1][1] if rates else 0):
                rates.append((time.perf_counter(), passed))
                memory.append(_resident())
    return Run(_rate(rates), (time.process_time() - cpu) / published.count * 1e6, memory)


def _rate(rates: list[Rate]) -> float:
    """Return the records per second from the first commit to the last: joining a group takes seconds."""
    (begin, first), (end, last) = rates[0], rates[-1]
    return (last - first) / (end - begin)


def _resident() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


if __name__ == "__main__":
    sys.exit(main())
