"""The registry of topics: name, key, models, partition key, clean-up, dead letters.

One entry a topic, in the order of the data's way. Names are final. A prefix from the settings may
stand before all of them (`named`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.base import Model
from schemas.batch import Batch, BatchPlanned, BatchRecipients, PlanComplete, PlanFailed
from schemas.campaign import Campaign
from schemas.chunk import BatchControl, Chunk, ChunkResult, Evidence
from schemas.command import CampaignCommand, DomainCommand, GateCommand, PlannerInput
from schemas.event import MailEvent
from schemas.gate_state import GateRow
from schemas.journal import JournalAside, JournalEntry, JournalPermit
from schemas.progress import CampaignProgress
from schemas.records import (
    Alert,
    DomainReputation,
    Fallback,
    InstallationRecord,
    InvalidRow,
    RelayAccount,
    ReputationChanged,
    ReputationCounts,
    Suppression,
    Template,
)
from schemas.request import CampaignRequest

DAY_MS = 86_400_000
DEAD_LETTER_BYTES = 2_000_000
"""A dead letter holds a record of up to 1 MB (the brokers' default limit) and the headers that say why."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What is known of a topic. `partitions` None: as many as the installation records."""

    name: str
    key: str
    models: tuple[type[Model], ...]
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    meaning: str
    cleanup: Literal["delete", "compact"] = "delete"
    retention_days: int | None = None
    partitions: int | None = None
    dead_letters: bool = False
    max_bytes: int | None = None

    @property
    def dlq(self) -> str:
        """The name of its dead-letter topic."""
        return f"{self.name}.dlq"

    def config(self) -> dict[str, str]:
        """Broker settings of the topic."""
        size = {} if self.max_bytes is None else {"max.message.bytes": str(self.max_bytes)}
        if self.cleanup == "compact":
            return {"cleanup.policy": "compact", **size}
        return {"cleanup.policy": "delete", "retention.ms": str((self.retention_days or 7) * DAY_MS), **size}


CAMPAIGN_REQUESTS = Topic(
    "campaign.requests", "any", (CampaignRequest,), ("anyone",), ("planner",),
    "A campaign that somebody asks for.", retention_days=7, dead_letters=True,
)  # fmt: skip
CAMPAIGN_COMMANDS = Topic(
    "campaign.commands", "campaign id", (CampaignCommand,), ("anyone",), ("planner",),
    "An order to a campaign: pause, resume, cancel, retry, strategy, resolve.", retention_days=7, dead_letters=True,
)  # fmt: skip
DOMAIN_COMMANDS = Topic(
    "domain.commands", "sending domain", (DomainCommand,), ("anyone",), ("planner",),
    "An order to a sending domain: pause, resume.", retention_days=7, dead_letters=True,
)  # fmt: skip
PLANNER_INPUTS = Topic(
    "planner.inputs", "campaign id", (PlannerInput,), ("planner", "gate"), ("planner",),
    "Validated requests and commands, where one owner decides.", retention_days=7, dead_letters=True,
)  # fmt: skip
CAMPAIGNS = Topic(
    "campaigns", "campaign id", (Campaign,), ("planner",), ("sender", "console", "anyone"),
    "A campaign with everything resolved; never changes.", cleanup="compact",
)  # fmt: skip
INVALID_ROWS = Topic(
    "campaign.invalid_rows", "campaign id", (InvalidRow,), ("planner",), ("anyone",),
    "A row that is not mailed, and why.", retention_days=30,
)  # fmt: skip
BATCH_RECIPIENTS = Topic(
    "batch.recipients", "batch id, write id and part", (BatchRecipients,), ("planner",), ("sender",),
    "A part of a batch's addresses and variables, at most 512 KB.", cleanup="compact",
)  # fmt: skip
GATE_INPUTS = Topic(
    "gate.inputs", "relay",
    (BatchPlanned, PlanComplete, PlanFailed, ChunkResult, Evidence, GateCommand, ReputationChanged, RelayAccount),
    ("planner", "sender", "feedback"), ("gate",),
    "Everything that the gate decides on.", retention_days=7, dead_letters=True,
)  # fmt: skip
GATE_STATE = Topic(
    "gate.state", "relay, domain, campaign or batch; on the partition of its relay", (GateRow,), ("gate",), ("gate",),
    "The gate's tables.", cleanup="compact",
)  # fmt: skip
BATCHES = Topic(
    "batches", "batch id", (Batch,), ("gate",), ("anyone",), "Facts, state and figures of a batch.", cleanup="compact",
)  # fmt: skip
CAMPAIGN_PROGRESS = Topic(
    "campaign.progress", "campaign id", (CampaignProgress,), ("gate", "planner"), ("anyone",),
    "Where a campaign stands.", cleanup="compact",
)  # fmt: skip
CHUNKS = Topic(
    "chunks", "batch id", (Chunk, BatchControl), ("gate",), ("sender",),
    "Permits to send, and orders to the owner of a batch.", retention_days=7, dead_letters=True,
)  # fmt: skip
SEND_JOURNAL = Topic(
    "send.journal", "batch id and window; on the partition of its batch", (JournalEntry, JournalPermit, JournalAside),
    ("sender",), ("sender",), "What is intended and what came of it.", cleanup="compact",
)  # fmt: skip
MAIL_EVENTS = Topic(
    "mail.events", "batch id", (MailEvent,), ("sender", "feedback"), ("feedback", "analytics"),
    "What happened to a message.", retention_days=30, dead_letters=True,
)  # fmt: skip
REPUTATION_COUNTS = Topic(
    "reputation.counts", "sending domain, day and source partition", (ReputationCounts,), ("feedback",), ("feedback",),
    "Totals so far.", cleanup="compact",
)  # fmt: skip
DOMAIN_REPUTATION = Topic(
    "domain.reputation", "sending domain", (DomainReputation,), ("feedback",), ("gate", "console"),
    "Where a sending domain stands.", cleanup="compact",
)  # fmt: skip
CAMPAIGN_FALLBACKS = Topic(
    "campaign.fallbacks", "campaign id", (Fallback,), ("planner",), ("anyone",),
    "A recipient who did not react in time.", retention_days=30,
)  # fmt: skip
TEMPLATES = Topic(
    "templates", "template id", (Template,), ("console",), ("planner", "console"), "A stored template.",
    cleanup="compact",
)  # fmt: skip
SUPPRESSIONS = Topic(
    "suppressions", "lower-cased address", (Suppression,), ("feedback", "console"), ("planner", "sender"),
    "An address that is not mailed any more.", cleanup="compact",
)  # fmt: skip
ALERTS = Topic(
    "alerts", "sending domain", (Alert,), ("gate", "feedback"), ("notifier", "console"),
    "Something an operator should look at.", retention_days=30,
)  # fmt: skip
INSTALLATION = Topic(
    "installation", "name", (InstallationRecord,), ("first start",), ("all",),
    "What all processes must share.", cleanup="compact", partitions=1,
)  # fmt: skip

TOPICS: tuple[Topic, ...] = (
    CAMPAIGN_REQUESTS, CAMPAIGN_COMMANDS, DOMAIN_COMMANDS, PLANNER_INPUTS, CAMPAIGNS, INVALID_ROWS, BATCH_RECIPIENTS,
    GATE_INPUTS, GATE_STATE, BATCHES, CAMPAIGN_PROGRESS, CHUNKS, SEND_JOURNAL, MAIL_EVENTS, REPUTATION_COUNTS,
    DOMAIN_REPUTATION, CAMPAIGN_FALLBACKS, TEMPLATES, SUPPRESSIONS, ALERTS, INSTALLATION,
)  # fmt: skip


def all_topics() -> tuple[Topic, ...]:
    """Every topic to create: the registry and the dead-letter topics in it."""
    dead = tuple(
        Topic(
            t.dlq, f"as {t.name}", t.models, t.readers, ("console",), f"Records of {t.name} that nobody could use.",
            retention_days=30, max_bytes=DEAD_LETTER_BYTES,
        )
        for t in TOPICS
        if t.dead_letters
    )  # fmt: skip
    return TOPICS + dead


def topic(name: str) -> Topic:
    """The topic of that name. Raises KeyError when there is none."""
    for t in all_topics():
        if t.name == name:
            return t
    raise KeyError(f"{name!r} is not a topic of rampa; `rampa topics list` shows them")


def named(prefix: str, t: Topic) -> str:
    """The topic's name on a broker whose installation uses `prefix`."""
    return prefix + t.name
