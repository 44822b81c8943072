"""The message that every client sends: 4 KB, two parts, as a template would make it."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP

PARAGRAPH = (
    "Your payment for March is due on the 15th. You can pay it at the counter, by transfer or with the link "
    "below; if you have paid already, please take this as our thanks and ignore the rest of this letter. "
)
TEXT = "Dear {name},\n\n" + "\n\n".join(PARAGRAPH * 2 for _ in range(3)) + "\n\nhttps://t.bore.example/c/{name}\n"
HTML = (
    "<html><body><p>Dear {name},</p>"
    + "".join(f"<p>{PARAGRAPH * 2}</p>\n" for _ in range(5))
    + '<p><a href="https://t.bore.example/c/{name}">Pay now</a></p></body></html>\n'
)


def built(number: int) -> EmailMessage:
    """The message to one recipient, as `email.message` builds it."""
    name = f"guest{number:07d}"
    message = EmailMessage(policy=SMTP)
    message["From"] = "Bore <cobros@bore.example>"
    message["To"] = f"{name}@mailbox.example"
    message["Subject"] = f"Your payment, {name}"
    message["Message-ID"] = f"<{name}.1@bore.example>"
    message["Date"] = "Mon, 02 Mar 2026 09:00:00 +0000"
    message.set_content(TEXT.format(name=name))
    message.add_alternative(HTML.format(name=name), subtype="html")
    return message


def compiled() -> bytes:
    """The same with `@NAME@` where the name stands, to be filled in as bytes."""
    message = built(1)
    message.set_boundary("=_bench")
    return bytes(message).replace(b"guest0000001", b"@NAME@")
