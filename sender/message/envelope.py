"""A message that is ready for a wire."""

from __future__ import annotations

from typing import NamedTuple


class Envelope(NamedTuple):
    """One message to one recipient. Addresses are as SMTP wants them: the domain as an A-label."""

    mail_from: str
    rcpt_to: str
    content: bytes
    """RFC 5322, CRLF line ends, no line over 998 octets, ends with CRLF; not dot-stuffed."""
    message_id: str
    """With its angle brackets."""
    smtputf8: bool = False
    """An address has a local part outside ASCII: the relay must offer SMTPUTF8 (RFC 6531)."""
    dotless: bool = False
    """No line of `content` begins with a dot: there is none to double (RFC 5321, 4.5.2). Always so for ours."""

    @property
    def size(self) -> int:
        """Octets as SIZE counts them: line ends are two, the final dot and doubled dots do not count (RFC 1870, 5)."""
        return len(self.content)

    def exceeds(self, limit: int) -> bool:
        """Whether a relay that announces `SIZE limit` will not take it; 0: it announces no limit (RFC 1870, 3)."""
        return 0 < limit < len(self.content)
