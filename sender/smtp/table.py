"""The table of SMTP replies. Rows are asked from top to bottom, and the first that matches decides. Pure data.

A row reads: which of our lines was answered, code, enhanced code, words; what that means; who says so.

kind:   `by class`: 4xx refused for now (transient), 5xx refused for good (failed).
        `refused`:  5xx, by policy: perhaps this message, perhaps everything from us. `sender.smtp.refusals` decides by
                    what else the relay does with our mail; nobody fails for a relay that refuses us.
        `throttled`, `relay_down`, `transient`, `failed`: as `sender.smtp.outcomes.Outcome` says.
reason: the contract's classes; `relay` and `quota` when the account is meant, not a recipient; `domain` when it is the
        address that we send from, or its domain: other domains of the relay go on.

Sources:

[5321]     RFC 5321, Simple Mail Transfer Protocol            [7504]  RFC 7504, codes 521 and 556
[3463]     RFC 3463, Enhanced Mail System Status Codes        [7505]  RFC 7505, null MX
[2034]     RFC 2034, enhanced codes in replies                [7372]  RFC 7372, codes for failed authentication of mail
[5248]     RFC 5248 and the registry that it began            [7293]  RFC 7293, mailboxes that changed their owner
[4954]     RFC 4954, AUTH                                     [6647]  RFC 6647, Email Greylisting
[1870]     RFC 1870, SIZE                                     [6531]  RFC 6531, SMTPUTF8
[SES]      Amazon SES, "Amazon SES SMTP issues" (response codes) and "Errors related to the sending quotas"
[GMAIL]    Google, "Gmail SMTP errors and codes" (support.google.com/a/answer/3726730)
[MS-NDR]   Microsoft, "Email nondelivery reports and SMTP errors in Exchange Online"
[MS-OLC]   Microsoft, "SMTP error codes" of the Outlook.com postmaster site
[YAHOO]    Yahoo, "SMTP Error Codes" of its sender hub
[SENDGRID] Twilio SendGrid, "SMTP Errors and Troubleshooting"
[POSTFIX]  postconf(5) and SMTPD_ACCESS_README: with `smtpd_delay_reject` client, HELO and sender are refused at RCPT
[EXIM]     Exim, smtp_in.c (`smtp_handle_acl_fail`): what `deny` says without a `message`
[SEEN]     no document: wordings that servers are known to use
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["by class", "refused", "throttled", "relay_down", "transient", "failed"]
Reason = Literal[
    "", "bad_mailbox", "bad_domain", "full", "blocked", "policy", "spam", "too_big", "throttled", "not_accepting",
    "network", "expired", "relay", "domain", "quota", "unknown",
]  # fmt: skip


class Row(NamedTuple):
    """`at`: some of `mail`, `rcpt`, `data`, `message` (the final dot), or `*`. The next three are regular expressions:
    the whole code; the whole enhanced code (empty when there is none); something in the words, whatever its case,
    addresses left out: whom the reply repeats says nothing of why."""

    at: str
    code: str
    enhanced: str
    words: str
    kind: Kind
    reason: Reason
    source: str


_ANY = r".*"
_PAST_MAIL = "rcpt|data|message"
"""Where a reply may mean the recipient; before, there is none."""
_NAMED = "4(?!21)..|5(?!30|34|35|38|23|25).."
"""Codes whose enhanced code may name a recipient: 421 ends the session, the others are about our authentication."""
_OUR_HOST = (
    r"spamhaus|spamcop|barracuda|\bs31[45]0\b|\bou-00\d\b|\[bl\d+\]|bl[oa]ck ?-?list|dnsbl|\brbl\b|banned sending ip|"
    r"\b(ip|client|host|server|network)( address)?\b.{0,60}\b(block(ed)?|banned|(?<!not )listed|denied)\b|"
    r"traffic not accepted from|(client host|helo command) rejected"
)
_OUR_ACCOUNT = (
    r"\bauth\b|(authenticat\w+|log ?in|start ?tls|encrypt\w+|tls) (is |was |has )?(required|first|fail\w*|needed)|"
    r"not (been )?(authenticated|logged in)|must (first )?(issue|authenticate|log ?in|use)|authenticate first|"
    r"\b(account|user|client|tenant|subscription|customer)\b.{0,40}\b(suspend|disabl|block|lock|deactivat|expired)"
)
"""We are not logged in, or the account that we are logged in with is refused: nobody's From has to do with it."""
_OUR_FROM = (
    r"sender (address )?rejected|not owned by user|send as this sender|sendasdenied|does not match a verified sender|"
    r"\b(from|sender|sending) (e-?mail )?(address|domain|identity)( <>)? (is |was |has )?not (been )?"
    r"(allowed|permitted|verified|authori[sz]ed)"
)
"""The address that a message is from, or its domain, is not allowed."""
_FROM_AT_MAIL = (
    r"\b(sender|sending|from|return.?path)\b.{0,60}\b(not |un)"
    r"(allowed|permitted|verified|authori[sz]ed|confirmed|registered|match\w*|owned)"
)
_FAST = (
    r"too (many|fast|quickly)|rate.?limit|limit exceeded|throttl|slow down|unusual rate|tempora\w+ deferred|"
    r"concurrent connections|messages? per (second|minute|hour)"
)
_SPAM = (
    r"(?<![a-z0-9@])((anti-?)?spam(m[a-z]+)?|unsolicited|junk( ?e?-?mail)?|bulk e?-?mail)(?![a-z0-9]|[\w-]{0,63}\.\w)"
)
"""Not as a part of another word, or of a host's name."""
_VIRUS = r"(?<![a-z0-9@])((anti-?)?virus(es)?|malware)(?![a-z0-9]|[\w-]{0,63}\.\w)"

TABLE: tuple[Row, ...] = (
    # --- the code names one address or one mailbox: that stands above all words -------------------------------
    Row("*", "5..", r"5\.7\.27", r"null ?mx", "relay_down", "domain",
        "[7505] 4.2: the sender's domain has a null MX; [POSTFIX] 556 5.7.27, at RCPT"),
    Row(_PAST_MAIL, "[45]..", _ANY, r"null mx", "by class", "bad_domain",
        "[7505] 5.1.10 the recipient's domain takes no mail"),
    Row(_PAST_MAIL, "4..", r"4\.2\.1", r"smtp relay limit", "throttled", "throttled",
        "[GMAIL] 450 4.2.1 Peak SMTP relay limit exceeded: the only X.2.1 that means the sender"),
    Row(_PAST_MAIL, _NAMED, r"[45]\.1\.([1346]|10)", "", "by class", "bad_mailbox",
        "[3463] 3.2 addresses; [MS-NDR] 5.1.10"),
    Row(_PAST_MAIL, _NAMED, r"[45]\.1\.2", "", "by class", "bad_domain", "[3463] X.1.2"),
    Row(_PAST_MAIL, _NAMED, r"[45]\.2\.1", "", "by class", "not_accepting",
        "[3463] X.2.1 disabled, not accepting; [GMAIL] 450 4.2.1 receiving mail too quickly"),
    Row(_PAST_MAIL, _NAMED, r"[45]\.2\.2", "", "by class", "full",
        "[3463] X.2.2 mailbox full; [GMAIL] 452 4.2.2 over quota"),
    Row(_PAST_MAIL, _NAMED, r"[45]\.2\.3", "", "by class", "too_big", "[3463] X.2.3"),
    # --- the account's quota is used up: slower is no remedy, and no recipient is to blame --------------------
    Row("*", "454", _ANY, r"daily message quota", "relay_down", "quota",
        "[SES] 454 Throttling failure: Daily message quota exceeded"),
    Row("*", "[45]..", r"[45]\.4\.5", r"daily|limit|quota", "relay_down", "quota",
        "[GMAIL] 550 5.4.5 Daily user sending quota exceeded; Daily SMTP relay limit exceeded"),
    Row("*", "5..", r"5\.1\.90|5\.7\.23[23]", "", "relay_down", "quota",
        "[MS-NDR] 5.1.90 daily limit for message recipients; 5.7.232, 5.7.233 external recipient limit of the "
        "tenant"),
    Row("*", "[45]..", _ANY, r"credits? exceeded", "relay_down", "quota",
        "[SENDGRID] 451 Authentication failed: Maximum credits exceeded"),
    Row("*", "[45]..", r"(?![45]\.(1\.([12346]|10)|2\.\d+)$).*",
        r"^(?!.*\b(recipient's (daily|hourly|monthly)|(user|mailbox|recipient)\b.{0,30}\breceiv))"
        r".*\b(daily|hourly|monthly)\b.{0,30}\b(user|sending|smtp|relay|message|e?mail)s?\b.{0,20}\b(limit|quota)|"
        r"submission quota", "relay_down", "quota",
        "[SEEN] hosting providers' limits; never of one mailbox ([3463] X.1, X.2)"),
    Row("*", "4..", _ANY, r"gr[ae]y-?list", "transient", "not_accepting",
        "[6647] 2.1: about one recipient, no reason to slow down for all, whatever the code"),
    # --- credentials ------------------------------------------------------------------------------------------
    Row("*", "454", _ANY, r"relay access denied", "transient", "policy",
        "[POSTFIX] 454 4.7.1 Relay access denied: of this recipient's domain"),
    Row("*", "454", _ANY, r"throttl|\brate\b", "throttled", "throttled",
        "[SES] 454 Throttling failure: Maximum sending rate exceeded"),
    Row("*", "530|534|535|538", _ANY, "", "relay_down", "relay",
        "[4954] 6: authentication required, too weak, invalid, encryption required"),
    Row("*", "454", r"(4\.7\.\d+)?", "", "relay_down", "relay",
        "[4954] 6: 454 4.7.0 authentication failed for now; with another code it is about something else ([3463])"),
    Row("*", "432", r"4\.7\.12", "", "relay_down", "relay", "[4954] 6: a password transition is needed"),
    Row("*", "523|525", _ANY, "", "relay_down", "relay", "[5248] 5.7.10 encryption needed, 5.7.13 account disabled"),
    Row("*", "5..", r"5\.7\.(3|57|8|11|14)", "", "relay_down", "relay",
        "[4954] 5.7.8; [5248] 5.7.11, 5.7.14; [MS-NDR] 5.7.3, 5.7.57 not authenticated"),
    Row("*", "5..", r"5\.7\.705|5\.1\.8", r"tenant has exceeded|bad outbound sender", "relay_down", "relay",
        "[MS-NDR] 5.7.705, 5.1.8: the sending account is blocked"),
    Row("*", "5..", _ANY, r"sending (is |has been )?(paused|suspended|disabled) for (this|your) account", "relay_down",
        "relay", "[SES] 554 Message rejected: Sending paused for this account; [SEEN]"),
    # --- one mailbox that is full or busy, before words such as `limit exceeded` are taken for a rate ---------
    Row("*", "4..", _ANY, r"(mailbox|storage|disk).{0,30}(full|quota|limit)", "transient", "full",
        "[5321] 452; [SEEN]"),
    Row("*", "4..", _ANY, r"(user|mailbox|recipient)\b.{0,60}(receiving|thread limit)", "transient", "not_accepting",
        "[YAHOO] 450: the user is receiving mail too quickly; [MS-NDR] 432 4.3.2"),
    # --- less speed -------------------------------------------------------------------------------------------
    Row("*", "421", r"4\.4\.2|4\.3\.2|", r"time.?out|timed out|idle|inactiv|shutting ?down", "transient", "network",
        "[5321] 3.8, 4.5.3.2: the server ends the connection for itself"),
    Row("*", "421", _ANY, "", "throttled", "throttled",
        "[5321] 3.8; [GMAIL] 421 4.7.0 unusual rate, 4.7.28; [YAHOO] 421 4.7.0 [TSS04]; [SES] 421 Too many "
        "concurrent SMTP connections"),
    Row("*", "4..", r"4\.7\.(2[3-7]|29|3[0-2]|40)|4\.1\.8", "", "transient", "policy",
        "[GMAIL] 4.7.23 to 4.7.40: PTR, SPF, DKIM, DMARC or TLS of ours; [7372]; [5248] 4.1.8 sender's domain"),
    Row("*", "45[01]", r"4\.7\.\d+", r"cannot find your (reverse )?host|host ?name|helo command rejected|\bdns\b",
        "transient", "policy", "[POSTFIX] 450 4.7.1 Client host rejected"),
    Row("*", "451", r"4\.7\.0", r"temporary server error", "transient", "not_accepting", "[MS-NDR] 451 4.7.0"),
    Row("*", "45[01]", r"4\.7\.\d+", "", "throttled", "throttled",
        "[MS-OLC] 451 4.7.650 rate limited for IP reputation; [MS-NDR] 451 4.7.500 server busy; [SEEN] most "
        "servers' limits"),
    Row("*", "4..", _ANY, _FAST, "throttled", "throttled",
        "[GMAIL] 450 4.2.1 Peak SMTP relay limit exceeded; [SEEN]"),
    Row("*", "5..", _ANY,
        r"too many (messages|connections|e?mails|errors|(invalid|unknown|bad|failed) \w+)|rate.?limit|"
        r"sending too (fast|quickly)", "refused", "throttled",
        "[SEEN] a rate said as if for good; what others of the same connection or address were refused for"),
    # --- MAIL: what it says is the same for all recipients ----------------------------------------------------
    Row("mail", "552", _ANY, "", "failed", "too_big", "[1870] 6.2: SIZE alone is refused at MAIL"),
    Row("mail", "5..", r"5\.(2\.3|3\.4)", "", "failed", "too_big", "[3463] X.2.3, X.3.4 message too big"),
    Row("*", "5..", r"5\.6\.7", "", "failed", "policy", "[6531] 3.7.4.2: this message needs SMTPUTF8"),
    Row("mail", "5..", r"5\.1\.8", "", "relay_down", "domain", "[3463] X.1.8: the domain of the sending address"),
    Row("mail", "50[0124]|555", _ANY, "", "refused", "unknown",
        "[5321] 4.1.1.11, 4.2.4: a parameter or the syntax; ours differs little from one recipient to the next"),
    Row("mail", "5..", r"5\.7\.2[0-46]", "", "relay_down", "domain",
        "[7372] 3: DKIM, SPF or both fail for the sender's domain, whatever words are used for that"),
    Row("mail", "5..", _ANY, f"{_OUR_HOST}|{_OUR_ACCOUNT}", "relay_down", "relay",
        "[MS-OLC] 550 S3140, OU-001 at MAIL: our host; [YAHOO] 553 5.7.1 [BL21]; [SEEN] an account that is suspended"),
    Row("mail", "5..", r"5\.1\.7", "", "relay_down", "domain", "[3463] X.1.7: the sending address"),
    Row("mail", "55[03]", _ANY, "", "relay_down", "domain",
        "[5321] 3.3: 550 or 553 when the reverse-path is not acceptable; [POSTFIX] 553 5.7.1 not owned by user. When "
        "it means everything from us, each domain finds that out by itself"),
    Row("mail", "5..", _ANY, f"{_OUR_FROM}|{_FROM_AT_MAIL}", "relay_down", "domain",
        "[SEEN] an address that is not allowed, by another code"),
    Row("mail", "5..", _ANY, "", "relay_down", "relay",
        "[5321] 4.1.4: 503: it wants AUTH or STARTTLS first; 4.2.3: 554, 521: no service"),
    # --- by whom a mailbox cannot be reached, though the words speak of policy --------------------------------
    Row("*", "5..", r"5\.4\.1", r"access denied", "failed", "bad_mailbox",
        "[MS-NDR] 5.4.1 Recipient address rejected: Access denied: no such recipient"),
    Row("*", "5..", r"5\.7\.(2|12|13|17|18|12[049]|13[3-6]|193)", "", "failed", "policy",
        "[3463] X.7.2; [7293] 5.7.17, 5.7.18; [MS-NDR] 5.7.124, 5.7.133 to 136: this recipient takes mail from "
        "few"),
    Row("*", "556", _ANY, "", "failed", "bad_domain", "[7504] 2.2 domain does not accept mail"),
    # --- by policy: perhaps all of ours -----------------------------------------------------------------------
    Row("*", "5..", _ANY, _OUR_HOST, "refused", "blocked",
        "[MS-OLC] 550 S3150, OU-002; [MS-NDR] 5.7.606 to 649, 5.7.708; [YAHOO] 553 5.7.1 [BL21]; [GMAIL] 550 "
        "5.7.1 from your IP address; [POSTFIX] Client host rejected"),
    Row("*", "4..", _ANY, _OUR_HOST, "transient", "blocked", "[YAHOO] 421 4.7.1 [TSS03]; [SEEN]"),
    Row("*", "5..", _ANY, f"{_SPAM}|{_VIRUS}", "refused", "spam",
        "[GMAIL] 550 5.7.1 likely unsolicited mail; [MS-NDR] 5.7.1 spam"),
    Row("*", "4..", _ANY, _SPAM, "transient", "spam", "[YAHOO] 4xx; [SEEN]"),
    Row("*", "5..", r"5\.1\.[78]", "", "relay_down", "domain", "[3463] X.1.7, X.1.8 sender; [POSTFIX] at RCPT"),
    Row("*", "5..", _ANY, _OUR_FROM, "relay_down", "domain",
        "[POSTFIX] Sender address rejected, at RCPT; [MS-NDR] 5.7.60, 5.2.252; [SENDGRID] 550 The from address does "
        "not match a verified Sender Identity. One who alone is refused so is found out (`of_him_alone`)"),
    Row("*", "5..", _ANY,
        r"relay(ing)? (access )?denied|unable to relay|relay not permitted|does not allow relay|"
        r"not (allowed|permitted) to relay", "refused", "policy",
        "[POSTFIX] Relay access denied; [MS-NDR] 5.7.54, 5.7.64"),
    # --- enhanced codes ---------------------------------------------------------------------------------------
    Row("*", "...", r"[45]\.1\.([01346]|10)", "", "by class", "bad_mailbox", "[3463] 3.2 addresses; [MS-NDR] 5.1.10"),
    Row("*", "...", r"[45]\.(1\.2|4\.4|4\.310)", "", "by class", "bad_domain",
        "[3463] X.1.2, X.4.4; [MS-NDR] 5.4.310"),
    Row("*", "...", r"[45]\.2\.1", "", "by class", "not_accepting", "[3463] X.2.1 disabled, not accepting"),
    Row("*", "...", r"[45]\.(2\.2|3\.1)", "", "by class", "full",
        "[3463] X.2.2 mailbox full, X.3.1 mail system full"),
    Row("*", "...", r"[45]\.(2\.3|3\.4)", "", "by class", "too_big", "[3463] X.2.3, X.3.4"),
    Row("*", "...", r"[45]\.3\.\d+", "", "by class", "not_accepting", "[3463] 3.4 mail system"),
    Row("*", "...", r"[45]\.4\.7", "", "by class", "expired", "[3463] X.4.7 delivery time expired"),
    Row("*", "...", r"[45]\.4\.\d+", "", "by class", "network", "[3463] 3.5 network and routing"),
    Row("*", "5..", r"5\.7\.\d+", "", "refused", "policy",
        "[3463] 3.8 security or policy; [GMAIL] 5.7.26 to 5.7.40; [YAHOO] 554 5.7.9"),
    Row("*", "4..", r"4\.7\.\d+", "", "transient", "policy", "[3463] 3.8"),
    # --- words, where there is no enhanced code ([2034]) ------------------------------------------------------
    Row("*", "...", _ANY, r"over ?quota|quota exceeded|mailbox (is )?full|insufficient (system )?storage", "by class",
        "full", "[5321] 4.2.3: 452, 552; [SEEN]"),
    Row("*", "...", _ANY, r"too (big|large)|size limit|exceeds.* size", "by class", "too_big", "[1870] 6; [SEEN]"),
    Row("*", "...", _ANY,
        r"(user|recipient|mailbox|address|account).{0,60}(unknown|not found|does ?n.t exist|not exist|unavailable|"
        r"disabled|invalid)|no such (user|mailbox|recipient|address)|(unknown|invalid) (user|recipient|mailbox|"
        r"address)", "by class", "bad_mailbox", "[5321] 4.2.3: 550 mailbox unavailable, 553; [SEEN]"),
    Row("*", "...", _ANY, r"(domain|host).{0,40}(not found|unknown|does ?n.t exist|not exist)|no mx", "by class",
        "bad_domain", "[SEEN]"),
    Row("*", "5..", _ANY,
        r"polic|dmarc|spf|dkim|not (allowed|permitted|verified)|message rejected|administrative(ly)? prohibit",
        "refused", "policy",
        "[SES] 554 Message rejected: Email address is not verified; [EXIM] 550 Administrative prohibition; [SEEN]"),
    Row("*", "4..", _ANY, r"polic|dmarc|spf|dkim", "transient", "policy", "[SEEN]"),
    # --- codes ------------------------------------------------------------------------------------------------
    Row(_PAST_MAIL, "503", _ANY, "", "transient", "unknown", "[5321] 4.1.4: our dialogue is out of step"),
    Row("rcpt", "55[01]|553", _ANY, "", "failed", "bad_mailbox", "[5321] 4.2.3"),
    Row("*", "452", _ANY, "", "transient", "full", "[5321] 4.2.3 insufficient system storage"),
    Row("*", "552", _ANY, "", "failed", "too_big", "[5321] 4.2.3; [1870] 6"),
    Row("data|message", "55[04]", _ANY, "", "refused", "policy",
        "[5321] 4.3.2: 550 after the message is for policy; 4.2.3 transaction failed; [SES] 554"),
    Row("*", "4..", _ANY, "", "transient", "not_accepting", "[5321] 4.2.1: refused for now"),
    Row("*", "5..", _ANY, "", "failed", "unknown", "[5321] 4.2.1: refused for good"),
    Row("*", "...", _ANY, "", "transient", "unknown", "[5321] 4.2.1: no answer that this command may have"),
)  # fmt: skip
