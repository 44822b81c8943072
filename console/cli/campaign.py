"""`rampa campaign`: submit, list, status, watch, explain, recipients, and commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.cli.common import AsJson, Config, err, fail, friendly, out, print_json, say, validation_lines

if TYPE_CHECKING:
    from schemas.command import CampaignCommand
    from schemas.progress import CampaignProgress

app = typer.Typer(no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="The campaign's id.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; shown to those who ask.", show_default=False)]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow it until it ends.")]


@app.command(epilog="Example: rampa campaign submit campaign.json --recipients clients.csv --watch")
@friendly
def submit(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A campaign request: JSON or TOML; - reads JSON on standard input.")
    ],
    recipients: Annotated[
        Path | None,
        typer.Option(
            "--recipients", "-r", help="A CSV, JSON Lines or Parquet file: recipients.uri.", show_default=False
        ),
    ] = None,
    watch_it: Watch = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Write a campaign request to `campaign.requests` and wait until it is accepted or refused."""
    from console import submitting
    from console.access import Access, settings_of
    from console.planning import further
    from console.requests import read_request

    request = read_request(file, recipients, further(settings_of(config)))
    access = Access.open(config, say=say)
    answer = submitting.submit(access, request, say=say)
    if answer.refused:
        fail("\n".join(["Refused:", *(f"  {line}" for line in answer.refused)]))
    if as_json and not watch_it:
        print_json({"campaign_id": answer.campaign_id, "state": answer.state})
    else:
        out.print(f"{answer.campaign_id}: {answer.state}", markup=False)
        for warning in answer.warnings:
            err.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    if watch_it:
        _watch(access, answer.campaign_id)


@app.command("list", epilog="Example: rampa campaign list --json")
@friendly
def list_(as_json: AsJson = False, config: Config = None) -> None:
    """All campaigns and where they stand."""
    from rich.table import Column, Table

    from console.access import Access
    from schemas.progress import CampaignProgress
    from schemas.topics import CAMPAIGN_PROGRESS

    found = Access.open(config, say=say).newest(CAMPAIGN_PROGRESS, CampaignProgress)
    rows = sorted(found.values(), key=lambda p: p.campaign_id)
    if as_json:
        print_json([p.model_dump(mode="json") for p in rows])
        return
    if not rows:
        out.print("No campaigns yet. Submit one: rampa campaign submit FILE")
        return
    table = Table(
        Column("campaign", no_wrap=True),
        "state",
        "domain",
        "recipients",
        "accepted",
        "waiting",
        "failed",
        "in doubt",
        "%",
        box=None,
    )
    for p in rows:
        table.add_row(
            p.campaign_id, p.state, p.sending_domain, str(p.recipients), str(p.accepted), str(p.waiting + p.in_flight),
            str(p.failed), str(p.in_doubt), f"{p.percent:.0f}",
        )  # fmt: skip
    out.print(table)


@app.command(epilog="Example: rampa campaign status cobranza-2026-02 --json")
@friendly
def status(campaign_id: Id, as_json: AsJson = False, config: Config = None) -> None:
    """Figures of one campaign, with the sum in which everybody is accounted for."""
    from console.access import Access
    from console.views import status_panel

    progress = _progress(Access.open(config, say=say), campaign_id)
    if as_json:
        print_json(progress.model_dump(mode="json"))
    else:
        out.print(status_panel(progress))


@app.command(epilog="Example: rampa campaign watch cobranza-2026-02")
@friendly
def watch(campaign_id: Id, config: Config = None) -> None:
    """Follow a campaign until it ends. Ctrl-C stops watching, not the campaign."""
    from console.access import Access

    access = Access.open(config, say=say)
    _progress(access, campaign_id)
    _watch(access, campaign_id)


@app.command(epilog="Example: rampa campaign explain cobranza-2026-02")
@friendly
def explain(campaign_id: Id, as_json: AsJson = False, config: Config = None) -> None:
    """Why is nothing going out? The reason, the figures, and when it is looked at again."""
    from console.access import Access
    from console.clock import installation_clock
    from console.explain import explain as sentences

    access = Access.open(config, say=say)
    progress = _progress(access, campaign_id)
    lines = sentences(progress, installation_clock(access).now())
    if as_json:
        holds = [h.model_dump(mode="json") for h in progress.holds]
        print_json({"campaign_id": campaign_id, "state": progress.state, "sentences": lines, "holds": holds})
        return
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)


@app.command(epilog="Example: rampa campaign recipients cobranza-2026-02 --state in_doubt")
@friendly
def recipients(
    campaign_id: Id,
    state: Annotated[
        str | None, typer.Option("--state", help="Only these, such as in_doubt.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON object a line.")] = False,
    config: Config = None,
) -> None:
    """Where each recipient of a campaign is: the states are those of the sum in `status`.

    In flight are those who are on the wire, and those who are permitted and next. Who failed or was in doubt and is
    permitted once more is shown as he was until his message is begun."""
    import orjson

    from console.access import Access
    from console.fates import STATES, fates
    from console.views import conservation

    if state is not None and state not in STATES:
        fail(f"{state!r} is not a state of a recipient; known: {', '.join(STATES)}", 2)
    access = Access.open(config, say=say)
    progress = _progress(access, campaign_id)
    if progress.archived_at is not None:
        say(f"archived at {progress.archived_at:%Y-%m-%d %H:%M} UTC: its recipients are gone; what is known of them:")
        say(conservation(progress))
    for fate in fates(access, campaign_id, archived=progress.archived_at is not None):
        if state is not None and fate["state"] != state:
            continue
        if as_json:
            typer.echo(orjson.dumps(fate).decode())
        else:
            place = (
                f"batch {fate['batch_number']} index {fate['index']}" if fate["batch_number"] else f"row {fate['row']}"
            )
            typer.echo(f"{fate['email']}\t{fate['state']}\t{place}" + (f"\t{fate['reason']}" if fate["reason"] else ""))


@app.command(epilog='Example: rampa campaign pause cobranza-2026-02 --reason "wrong amounts"')
@friendly
def pause(campaign_id: Id, reason: Reason = None, config: Config = None) -> None:
    """Release nothing more until `resume`. What is on the wire is finished."""
    _command(config, campaign_id, action="pause", reason=reason)


@app.command(epilog="Example: rampa campaign resume cobranza-2026-02")
@friendly
def resume(campaign_id: Id, reason: Reason = None, config: Config = None) -> None:
    """Go on with a paused campaign. If its relay is down, or refuses its domain, it is tried now."""
    _command(config, campaign_id, action="resume", reason=reason)


@app.command(epilog="Example: rampa campaign cancel cobranza-2026-02 --yes")
@friendly
def cancel(
    campaign_id: Id,
    reason: Reason = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed without a terminal.")] = False,
    config: Config = None,
) -> None:
    """Send nothing more of it, for ever. What is on the wire is finished."""
    if not yes:
        if not (sys.stdin and sys.stdin.isatty()):
            fail(
                f"Nothing was done: cancelling {campaign_id} is for ever, and there is no terminal at which to ask. "
                f"Add --yes: rampa campaign cancel {campaign_id} --yes", 2,
            )  # fmt: skip
        typer.confirm(f"Cancel {campaign_id} for ever?", abort=True)
    _command(config, campaign_id, action="cancel", reason=reason)


@app.command(epilog="Example: rampa campaign retry cobranza-2026-02")
@friendly
def retry(campaign_id: Id, reason: Reason = None, config: Config = None) -> None:
    """Try those once more who failed, and those now who wait for another try; also a relay that is down. They go out at
    the campaign's pace and in its windows, under the limits of the day, like any release."""
    _command(config, campaign_id, action="retry", reason=reason)


@app.command(epilog="Example: rampa campaign strategy cobranza-2026-02 conservative")
@friendly
def strategy(
    campaign_id: Id,
    name: Annotated[
        str, typer.Argument(metavar="STRATEGY", help="auto, ramp_up, batch, conservative, or one of yours.")
    ],
    batch_size: Annotated[int | None, typer.Option(help="Messages a batch.", show_default=False)] = None,
    interval_minutes: Annotated[float | None, typer.Option(help="Minutes between batches.", show_default=False)] = None,
    reason: Reason = None,
    config: Config = None,
) -> None:
    """Go on by another strategy: what is not yet sent is re-timed. The schedule stays as it was planned."""
    numbers = {"batch_size": batch_size, "interval_minutes": interval_minutes}
    spec = {"type": name, **{k: v for k, v in numbers.items() if v is not None}}
    _command(config, campaign_id, action="strategy", strategy=spec, reason=reason)


@app.command(epilog="Example: rampa campaign resolve cobranza-2026-02 --resend")
@friendly
def resolve(
    campaign_id: Id,
    resend: Annotated[bool, typer.Option("--resend", help="Mail them again; not for a cancelled campaign.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Count them as failed.")] = False,
    accepted: Annotated[bool, typer.Option("--accepted", help="The relay did take them.")] = False,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="Only this one of them; capitals do not count.",
            show_default=False,
        ),
    ] = None,
    reason: Reason = None,
    config: Config = None,
) -> None:
    """Decide what to do about recipients in doubt: all of them, or one. Nobody of a cancelled campaign is mailed again:
    it takes only --accepted and --drop. With --resend they go out at the campaign's pace and in its windows, under the
    limits of the day, like any release. While a sender hangs, end it first: its own record then settles most of those
    whom it held, and --resend before that may mail them twice (`rampa campaign explain` says so)."""
    chosen = [name for name, on in (("resend", resend), ("drop", drop), ("accepted", accepted)) if on]
    if len(chosen) != 1:
        fail("Choose one of --resend, --drop and --accepted.", 2)
    _command(config, campaign_id, action="resolve", resolution=chosen[0], address=address, reason=reason)


def _command(config: Path | None, campaign_id: str, **fields: Any) -> None:
    from pydantic import ValidationError

    from console import submitting
    from console.access import Access
    from schemas.command import CampaignCommand

    try:
        command: CampaignCommand = CampaignCommand(campaign_id=campaign_id, **fields)
    except ValidationError as e:
        fail("\n".join(validation_lines(CampaignCommand, e)))
    access = Access.open(config, say=say)
    before = _progress(access, campaign_id)
    pointless = submitting.pointless(command, before)
    if pointless is not None:
        fail(f"{campaign_id}: {pointless}")
    if command.address is not None:
        command = command.model_copy(update={"address": _in_doubt_at(access, campaign_id, command.address)})
    if (warning := submitting.warning(command, before)) is not None:
        say(f"Warning: {warning}")
    answer = submitting.command(access, command)
    if answer.refused:
        fail("\n".join(["Refused:", *(f"  {line}" for line in answer.refused)]))
    out.print(f"{campaign_id}: {answer.state}", markup=False, soft_wrap=True)


def _in_doubt_at(access: Any, campaign_id: str, address: str) -> str:
    from console.fates import fates
    from console.resolving import in_doubt_at

    return in_doubt_at(fates(access, campaign_id), address, campaign_id)


def _progress(access: Any, campaign_id: str) -> CampaignProgress:
    from schemas.progress import CampaignProgress
    from schemas.topics import CAMPAIGN_PROGRESS

    wanted = campaign_id.encode()
    found = access.newest(CAMPAIGN_PROGRESS, CampaignProgress, lambda key: key == wanted)
    if campaign_id not in found:
        known = sorted(access.newest(CAMPAIGN_PROGRESS, CampaignProgress))
        import difflib

        near = difflib.get_close_matches(campaign_id, known, 1)
        hint = f"did you mean {near[0]}?" if near else "`rampa campaign list` shows those that are known."
        fail(f"There is no campaign {campaign_id!r}; {hint}")
    progress: CampaignProgress = found[campaign_id]
    return progress


def _watch(access: Any, campaign_id: str) -> None:
    from console.watching import watch_campaign

    last = watch_campaign(access, campaign_id, out)
    if last is not None and last.state in {"rejected", "failed"}:
        raise typer.Exit(1)
