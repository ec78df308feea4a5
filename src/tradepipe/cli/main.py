"""`tradepipe`: all commands in one."""

from typing import NoReturn

from tradepipe.cli import demo, exits, migrate, produce, schema, sink, topics
from tradepipe.cli.app import command_line

app = command_line("Trades from Kafka to PostgreSQL as Avro, each version of each trade exactly once.", completion=True)
app.command("produce")(produce.produce)
app.command("sink")(sink.sink)
app.add_typer(migrate.app, name="migrate")
app.add_typer(schema.app, name="schema")
app.add_typer(topics.app, name="topics")
app.command("demo")(demo.demo)


def run() -> NoReturn:
    """Run the command line `tradepipe`."""
    exits.run(app, "tradepipe")
