"""The address of ours that connections come from."""

from __future__ import annotations

import errno
import ipaddress
import socket

from sender.smtp.errors import RelayDown


def source_address(text: str, wanted: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address that connections come from. Raises `RelayDown` for what is none, or not of the wanted family."""
    try:
        source = ipaddress.ip_address(text)
    except ValueError:
        raise RelayDown("settings", text=f"source_ip {text!r} is not an IP address") from None
    if wanted not in ("any", str(source.version)):
        raise RelayDown("settings", text=f"source_ip {text} is IPv{source.version}, but ip_family is {wanted}")
    return source


def bind(sock: socket.socket, source: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Let a connection come from that address; closes `sock` when it cannot.

    Raises `RelayDown`, for a mistake in the settings when the host has no such address.
    """
    try:
        sock.bind((str(source), 0))
    except OSError as e:
        sock.close()
        text = f"source_ip {source} cannot be used on this host ({e.strerror or e}); set one of its addresses, or none"
        raise RelayDown("settings" if e.errno == errno.EADDRNOTAVAIL else "connect", text=text) from None
