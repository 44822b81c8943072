"""SMTP replies as bytes: code, enhanced code (RFC 2034, RFC 3463), text.

Replies to EHLO and HELO, the greeting, 334 and 354 carry no enhanced code (RFC 2034, section 4).
"""

from __future__ import annotations

import re
from typing import Final

ENHANCED: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


def reply(code: int, enhanced: str, text: str) -> bytes:
    """One reply, ready for the wire; a text of several lines becomes a multi-line reply (RFC 5321, 4.2.1)."""
    lines = text.split("\n")
    status = f"{enhanced} " if enhanced else ""
    first = "".join(f"{code}-{status}{line}\r\n" for line in lines[:-1])
    return f"{first}{code} {status}{lines[-1]}\r\n".encode()


OK: Final = reply(250, "2.0.0", "OK")
SENDER_OK: Final = reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK: Final = reply(250, "2.1.5", "Recipient OK")
TAKEN: Final = reply(250, "2.6.0", "Message accepted")
CHUNK_OK: Final = reply(250, "2.0.0", "Chunk received")
GO_AHEAD: Final = reply(354, "", "End data with <CR><LF>.<CR><LF>")
BYE: Final = reply(221, "2.0.0", "Bye")
READY_FOR_TLS: Final = reply(220, "2.0.0", "Ready to start TLS")
AUTHENTICATED: Final = reply(235, "2.7.0", "Authentication succeeded")
CANNOT_VERIFY: Final = reply(252, "2.0.0", "Cannot VRFY user, but will accept message and attempt delivery")
HELP: Final = reply(214, "2.0.0", "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY AUTH STARTTLS QUIT")

IDLE: Final = reply(421, "4.4.2", "Idle for too long, closing the connection")
STOPPING: Final = reply(421, "4.3.2", "Service is shutting down")
NO_TLS: Final = reply(454, "4.7.0", "TLS is not available")

LINE_TOO_LONG: Final = reply(500, "5.5.2", "Line too long")
BARE_LF: Final = reply(500, "5.5.2", "Command must end with <CR><LF>")
NOT_TEXT: Final = reply(500, "5.5.2", "Command is not UTF-8 text")
UNKNOWN: Final = reply(500, "5.5.1", "Command not recognised")
NOT_IMPLEMENTED: Final = reply(502, "5.5.1", "Command not implemented")
NO_ARGUMENTS: Final = reply(501, "5.5.4", "This command takes no argument")
NEED_NAME: Final = reply(501, "5.5.4", "A host name is needed")
MAIL_SYNTAX: Final = reply(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]")
RCPT_SYNTAX: Final = reply(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]")
BDAT_SYNTAX: Final = reply(501, "5.5.4", "Syntax: BDAT size [LAST]")
AUTH_SYNTAX: Final = reply(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
BAD_SENDER: Final = reply(501, "5.1.7", "Bad sender address syntax")
BAD_RECIPIENT: Final = reply(501, "5.1.3", "Bad recipient address syntax")
BAD_PARAMETER_VALUE: Final = reply(501, "5.5.4", "Bad parameter value")
UNKNOWN_PARAMETER: Final = reply(555, "5.5.4", "Parameter not recognised or not supported")
NEED_SMTPUTF8: Final = reply(553, "5.6.7", "Non-ASCII address without SMTPUTF8")

NEED_HELO: Final = reply(503, "5.5.1", "Send EHLO or HELO first")
NESTED_MAIL: Final = reply(503, "5.5.1", "Nested MAIL command")
NEED_MAIL: Final = reply(503, "5.5.1", "Need MAIL command")
NEED_RCPT: Final = reply(503, "5.5.1", "Need RCPT command")
NO_VALID_RECIPIENTS: Final = reply(554, "5.5.1", "No valid recipients")
CHUNKS_BEGUN: Final = reply(503, "5.5.1", "BDAT has begun; only BDAT, RSET or QUIT may follow")
DISCARDED: Final = reply(503, "5.5.1", "Chunk discarded after an earlier error; send RSET")
TLS_ACTIVE: Final = reply(503, "5.5.1", "TLS is active already")
AUTH_BAD_TIME: Final = reply(503, "5.5.1", "AUTH is not allowed now")

TOO_MANY_RECIPIENTS: Final = reply(452, "4.5.3", "Too many recipients")
TOO_BIG: Final = reply(552, "5.3.4", "Message exceeds the size limit")
BODY_LINE_TOO_LONG: Final = reply(554, "5.6.0", "Message has a line of more than 1000 octets")
BARE_NEWLINES: Final = reply(554, "5.6.0", "Message has a bare <CR> or <LF>")

NEED_TLS: Final = reply(530, "5.7.0", "Must issue a STARTTLS command first")
NEED_AUTH: Final = reply(530, "5.7.0", "Authentication required")
AUTH_NEEDS_TLS: Final = reply(538, "5.7.11", "Encryption required for authentication")
AUTH_UNKNOWN: Final = reply(504, "5.5.4", "Authentication mechanism not supported")
AUTH_FAILED: Final = reply(535, "5.7.8", "Authentication credentials invalid")
AUTH_NOT_BASE64: Final = reply(501, "5.5.2", "Cannot decode the response")
AUTH_CANCELLED: Final = reply(501, "5.7.0", "Authentication cancelled")
