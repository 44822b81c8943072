"""What `rampa init` writes."""

from __future__ import annotations

from pathlib import Path

from console.errors import ConsoleError

SETTINGS = """\
# Settings of rampa. Each can also come from the environment: RAMPA_KAFKA__BOOTSTRAP, ...
data = "var"                       # state, logs, embedded engines
archive_after = "30d"

[kafka]
# "embedded": in memory, for trying.  "local": Apache Kafka on this machine, durable (Java 17; `make kafka`).
# Otherwise a cluster: "host:9092,host:9092".
# Embedded keeps nothing: when it was stopped, the same request submitted again mails everybody again.
bootstrap = "embedded"
topic_prefix = ""                  # several installations can share a cluster
partitions = 12                    # recorded at the first start, then it stays
# security_protocol = "SASL_SSL"   # any librdkafka setting for security
# sasl_mechanism = "SCRAM-SHA-512"
# sasl_username = "rampa"          # and RAMPA_KAFKA__SASL_PASSWORD

[clock]
speed = 1.0                        # 1 for real; the demo runs faster

# An account that mail goes out by. Here one that writes files into var/mail, to look at:
[relays.files]
type = "maildir"
path = "var/mail"

# A real one:
# [relays.main]
# type = "smtp"
# host = "smtp.improvmx.com"
# port = 587                       # 465: TLS at once, 587: STARTTLS
# preset = "improvmx"              # 3 connections, 5/s; also gmail, sendgrid
# username = "you@bore.example"    # and RAMPA_RELAYS__MAIN__PASSWORD
# rate = "5/s"
# daily_quota = "6000/day"

# A mailbox provider on this machine, to try against: python -m simulator --port 2525 --maildir var/inbox
# [relays.try]
# host = "127.0.0.1"
# port = 2525
# tls = "none"

# The domain of your From address.
[domains."bore.example"]
relay = "files"
timezone = "America/Bogota"        # its day begins at midnight there
warm = false                       # true: skip the warm-up
# return_path = "bounces@bore.example"  # bounces come to bounces+NAME@, where NAME is the message's (VERP)
# dkim = { selector = "r1", key_file = "dkim.pem" }   # sign its mail, unless the relay does

[warmup]
# While no feedback is connected: "none" keeps a domain on its sending day, "healthy" moves it on each day.
assume = "none"

# [deferrals]                      # whom a server refuses for now, after up to four tries within seconds
# after = ["5min", "15min", "1h", "4h"]   # when they are tried again; the last holds for all that follow
# give_up_after = "24h"            # of time in which sending is allowed; then they have failed ("0s": at once)

# [tracker]                        # opens and clicks are not tracked yet: public_url, and `tracking` in a request, do
#                                  # nothing. The keys do:
# public_url = "https://t.bore.example"   # where the tracker will be reached from outside
# keys = ["..."]                   # sign Message-IDs, return paths and links; without any, a key of the installation
#                                  # does, which whoever may read its Kafka can make. The first signs, all verify: put
#                                  # a new one first, and keep the old ones.
#                                  # python -c "import secrets; print(secrets.token_urlsafe(32))"

# [planner]
# roots = ["recipients"]           # file:// recipients must lie below one of these; left out: anywhere

# A strategy of your own:
# [strategies.cobranza]
# type = "batch"
# batch_size = 300
"""

CAMPAIGN = """\
{
  "name": "A first campaign",
  "from": {"email": "cobros@bore.example", "name": "Bore"},
  "template": {
    "subject": "Hola {{ first_name }}",
    "html": "<p>Hola {{ first_name }}, tu saldo es {{ amount }}.</p>"
  },
  "recipients": {"uri": "clients.csv"},
  "strategy": {"type": "batch", "interval_minutes": 15},
  "schedule": {"window": null, "skip_weekends": false}
}
"""

CLIENTS = """\
email,first_name,amount
ana@correo.example,Ana,1200
jose@correo.example,José,350
zoe@mail.test,Zoë,90
"""


def write_initial(file: Path, *, force: bool) -> list[Path]:
    """Write the settings, and a campaign with recipients beside them where none are. Raises ConsoleError."""
    if file.exists() and not force:
        raise ConsoleError(f"{file} is already there; --force replaces it")
    written = [file]
    try:
        file.write_text(SETTINGS, encoding="utf-8")
        for name, text in (("campaign.json", CAMPAIGN), ("clients.csv", CLIENTS)):
            beside = file.parent / name
            if not beside.exists():
                beside.write_text(text, encoding="utf-8")
                written.append(beside)
    except OSError as e:
        raise ConsoleError(f"{file}: {e}") from None
    return written
