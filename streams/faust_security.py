"""librdkafka's security settings in the form that Faust takes them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import faust

from streams.errors import StreamsError


def credentials(options: Mapping[str, str]) -> faust.auth.Credentials | None:
    """Faust's form of librdkafka's security settings: SASL PLAIN and SCRAM, TLS with or without a client key.

    Raises StreamsError for a mechanism that Faust cannot have from these settings.
    """
    get = {name.replace("_", "."): value for name, value in options.items()}.get
    protocol = (get("security.protocol") or "plaintext").lower()
    context = tls_context(options) if protocol.endswith("ssl") else None
    if protocol.startswith("sasl"):
        mechanism = (get("sasl.mechanism") or get("sasl.mechanisms") or "PLAIN").upper()
        if mechanism not in {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}:
            raise StreamsError(
                f"The planner cannot use sasl_mechanism {mechanism}; set PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."
            )
        return faust.SASLCredentials(
            username=get("sasl.username"), password=get("sasl.password"), mechanism=mechanism, ssl_context=context
        )
    return faust.SSLCredentials(context=context) if context is not None else None


def tls_context(options: Mapping[str, str]) -> ssl.SSLContext:
    """The TLS context of librdkafka's `ssl.*` settings: authority, client certificate, what is verified."""
    get = {name.replace("_", "."): value for name, value in options.items()}.get
    context = ssl.create_default_context(cafile=get("ssl.ca.location"), cadata=get("ssl.ca.pem"))
    if get("ssl.endpoint.identification.algorithm") == "none":
        context.check_hostname = False
    if get("enable.ssl.certificate.verification") in {"false", "False"}:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate = get("ssl.certificate.location")
    if certificate:
        context.load_cert_chain(certificate, get("ssl.key.location"), get("ssl.key.password"))
    return context
