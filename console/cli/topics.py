"""`rampa topics`: create, list, describe."""

from __future__ import annotations

import typer

from console.cli.common import AsJson, Config, friendly, out, print_json, say

app = typer.Typer(no_args_is_help=True)


@app.command(epilog="Example: rampa topics create")
@friendly
def create(config: Config = None) -> None:
    """Create what is missing, and record the installation at the first start. Doing it again is harmless."""
    from console.access import kafka_of, settings_of
    from console.installing import install
    from streams.clients import wait_for_broker

    settings = settings_of(config)
    kafka = kafka_of(settings)
    wait_for_broker(kafka, 60, say)
    record = install(settings, kafka)
    out.print(f"All topics are there: {record.partitions} partitions each, installation {record.id[:8]}.")


@app.command("list", epilog="Example: rampa topics list")
@friendly
def list_(as_json: AsJson = False) -> None:
    """Every topic: its key, who writes it, who reads it."""
    from rich.table import Table

    from schemas.topics import all_topics

    rows = all_topics()
    if as_json:
        print_json(
            [{"name": t.name, "key": t.key, "models": [m.__name__ for m in t.models], "writers": t.writers,
              "readers": t.readers, "config": t.config(), "meaning": t.meaning} for t in rows]
        )  # fmt: skip
        return
    table = Table("topic", "key", "records", "written by", "read by", "clean-up", box=None)
    for t in rows:
        clean_up = t.cleanup if t.cleanup == "compact" else f"{t.retention_days} d"
        table.add_row(
            t.name, t.key, ", ".join(m.__name__ for m in t.models), ", ".join(t.writers), ", ".join(t.readers), clean_up
        )
    out.print(table)


@app.command(epilog="Example: rampa topics describe > asyncapi.json")
@friendly
def describe(config: Config = None) -> None:
    """All topics and records as one AsyncAPI 3 document, JSON."""
    from console.access import settings_of
    from schemas.asyncapi import document

    print_json(document(settings_of(config).kafka.topic_prefix))
