"""`rampa`: all commands in one place."""

from __future__ import annotations

import typer

from console.cli import alerts, campaign, dlq, domain, run, template, topics

app = typer.Typer(
    name="rampa",
    help="Mail campaigns at the pace that your sending domain's reputation allows: nobody twice, nobody forgotten.",
    epilog="Begin with: rampa demo · then: rampa init, rampa up, rampa campaign submit FILE --watch",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
run.register(app)
alerts.register(app)
app.add_typer(campaign.app, name="campaign", help="Submit, follow and steer campaigns.")
app.add_typer(domain.app, name="domain", help="Sending domains: standing, quota, pause, resume.")
app.add_typer(template.app, name="template", help="Stored templates.")
app.add_typer(topics.app, name="topics", help="Topics: create, list, describe (AsyncAPI).")
app.add_typer(dlq.app, name="dlq", help="Dead letters: records that nobody could use.")


def main() -> None:
    """Entry point of the command `rampa`."""
    app()


if __name__ == "__main__":
    main()
