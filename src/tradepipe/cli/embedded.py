"""Command `tradepipe embedded`: a broker, a registry and a PostgreSQL without servers."""

import re
import shlex
import sys
import threading
from contextlib import ExitStack
from typing import Annotated, Final

import typer

from tradepipe.cli.app import command_line
from tradepipe.cli.options import TOPIC, option
from tradepipe.cli.signals import StopOnSignal
from tradepipe.cli.validate import CLEAN, DEAD_LETTERS
from tradepipe.embedded.broker import DEFAULT_PARTITIONS, LogStarts
from tradepipe.embedded.process import StartCancelled
from tradepipe.embedded.stack import LocalStack
from tradepipe.errors import ConfigurationError
from tradepipe.plural import format_count

WATCH_SECONDS: Final = 0.5
"""Seconds between two looks at the log starts."""

REPORT_SECONDS: Final = 10.0
"""Seconds between two reports of dropped records."""

STOP_GRACE_SECONDS: Final = 20.0
"""
Seconds after a signal in which the services must end; a service that still runs then ends with this process.

Longer than a PostgreSQL that is just starting needs: 5 s for a connection, and 3 s until it is killed.
"""

_topic = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,249})(:(?P<partitions>[1-9][0-9]{0,2}))?").fullmatch

app = command_line()

Topics = Annotated[
    list[str] | None,
    option(
        "--topic NAME[:PARTITIONS]",
        f"Create this topic, with {DEFAULT_PARTITIONS} partitions unless given otherwise. Repeatable. "
        f"[default: {TOPIC}, {CLEAN} and {DEAD_LETTERS}]",
        variable=None,
    ),
]


@app.command()
def embedded(*, topics: Topics = None) -> None:
    """
    Run a broker, a registry and a PostgreSQL until Ctrl-C, and print the variables that commands need to use them.

    Nothing else has to be installed or running. All data is lost at the end. The broker is librdkafka's mock, not
    Kafka: it has no transactions, and keeps at most 5 MiB of each partition.
    """
    wanted: list[tuple[str, int]] = []
    for text in topics or (TOPIC, CLEAN, DEAD_LETTERS):
        if not (found := _topic(text)):
            raise typer.BadParameter(
                f"must be NAME or NAME:PARTITIONS, with 1 to 999 partitions, not {text!r}", param_hint="'--topic'"
            )
        wanted.append((found["name"], int(found["partitions"] or DEFAULT_PARTITIONS)))
    stopped = threading.Event()
    stopping = StopOnSignal(stopped.set, "stopping the services", grace=STOP_GRACE_SECONDS)
    with stopping, ExitStack() as services:
        stack = start_stack(services, stopped)
        if stack is None:
            return
        for name, partitions in wanted:
            try:
                stack.create_topic(name, partitions=partitions)
            except ValueError as error:
                raise typer.BadParameter(str(error), param_hint="'--topic'") from error
        if stopped.is_set():
            return
        # The exports alone go to stdout, so that they can be redirected.
        typer.echo("A broker, a registry and a PostgreSQL are running, with these topics:\n", err=True)
        for name, partitions in wanted:
            typer.echo(f"  {name}, {format_count(partitions, 'partition')}", err=True)
        typer.echo("\nIn another terminal, paste these lines, and then use tradepipe's commands:\n", err=True)
        typer.echo(format_exports(stack), nl=False)
        sys.stdout.flush()
        typer.echo("\nCtrl-C stops the services and deletes their data.", err=True)
        log_starts, pause = LogStarts(stack.bootstrap_servers), WATCH_SECONDS
        while not stopped.wait(pause):
            dropped = log_starts.poll()
            for topic, number in dropped.items():
                typer.secho(
                    f"Topic {topic} has lost its oldest {format_count(number, 'record')}: this broker keeps at most "
                    "5 MiB of each partition. Consume while you produce, create more partitions, or use Apache Kafka.",
                    err=True,
                    fg="red",
                )
            pause = REPORT_SECONDS if dropped else WATCH_SECONDS


def start_stack(services: ExitStack, stopped: threading.Event) -> LocalStack | None:
    """
    Start the embedded services, which the exit stack stops; return None if a signal ended the start.

    Raises:
        ConfigurationError: PostgreSQL is not installed, or does not start.
    """
    try:
        return services.enter_context(LocalStack(cancelled=stopped))
    except StartCancelled:
        return None
    except (FileNotFoundError, RuntimeError) as error:
        raise ConfigurationError(str(error)) from error


def format_exports(stack: LocalStack, *, indent: str = "") -> str:
    """Return the variables of the stack as lines for a shell."""
    return "".join(f"{indent}export {name}={shlex.quote(value)}\n" for name, value in stack.environment.items())
