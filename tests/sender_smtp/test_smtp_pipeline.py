"""What became of each message, whatever a server does and wherever it stops."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipe_world import EVERYTHING, Fault, ListFeed, Provider, World, letters

from sender.smtp.learned import Learned, Mode, learn
from sender.smtp.outcomes import Outcome
from sender.smtp.wire import Offer, Outgoing

MODES = list(Mode)
ahead = pytest.mark.parametrize("mode", [Mode.PIPELINING, Mode.CHUNKING])
each_mode = pytest.mark.parametrize("mode", MODES)


def _ends(world: World) -> list[tuple[str, str]]:
    return [(outcome.kind, outcome.stage) for _, outcome in world.feed.ends]


@each_mode
def test_every_message_arrives_as_it_was_written(mode: Mode) -> None:
    world = World(mode, letters(20)).end()
    world.check()
    assert world.feed.kinds() == ["accepted"] * 20
    assert [got.content for got in world.server.got] == [message.content for message in world.feed.taken]
    assert world.feed.endings[0].kind == "finished"
    assert world.feed.reports[0].accepted == 20
    assert world.feed.reports[0].problem is None


def test_pipelining_takes_one_write_a_message() -> None:
    world = World(Mode.PIPELINING, letters(10)).end()
    assert len(world.writes) == 12  # the first envelope, ten bodies with what follows, QUIT
    assert world.writes[1].endswith(
        b"\r\n.\r\nMAIL FROM:<b1@bore.example> SIZE=26\r\nRCPT TO:<r1@example.com>\r\nDATA\r\n"
    )


ONE_TAKEN = b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.6.0 Taken\r\n"


def test_chunking_puts_its_window_on_the_wire_once_a_message_was_answered() -> None:
    world = World(Mode.CHUNKING, letters(16), window=4)
    assert (world.pipe.on_wire, len(world.writes)) == (1, 1)
    while len(world.writes) == 1:
        world.step()
    assert world.pipe.on_wire == 4
    assert world.writes[1].count(b"RSET\r\n") == 3, "a refused one must not leave its envelope to the next"
    world.end().check()
    assert world.feed.kinds() == ["accepted"] * 16


def test_a_server_that_drops_what_it_is_sent_ahead_is_never_believed_to_have_a_message() -> None:
    """It answers the first command of each write: those to MAIL, RSET and RSET would pass for the answers to one."""
    world = World(Mode.CHUNKING, [])
    for message in letters(6):
        before = len(world.writes)
        world.feed.waiting.append(message)
        world.pipe.kick()
        if len(world.writes) > before:
            world.pipe.data_received(b"250 2.0.0 Ok\r\n")
    world.loop.advance(100)
    assert world.feed.kinds() == ["lost_after"]
    assert world.feed.reports[0].problem == "timeout"


@pytest.mark.parametrize("hangs", [False, True])
def test_a_relay_that_cannot_do_what_chunking_needs_is_found_out(hangs: bool) -> None:
    """It closes, or says nothing any more, when it gets BDAT: each connection leaves one in doubt, and not for ever."""
    learned = Learned()
    for _ in range(2):
        world = World(Mode.CHUNKING, letters(5), Provider(Fault(verbs=(".",), reply=b"", close=not hangs))).end()
        assert world.feed.kinds() == ["lost_after"]
        learned = learn(learned, world.feed.reports[0])
    assert learned.ceiling is Mode.PIPELINING


def test_a_body_is_announced_before_it_is_written() -> None:
    world = World(Mode.CHUNKING, letters(1)[:1])
    world.pipe.data_received(ONE_TAKEN)
    world.writes.clear()
    seen: list[int] = []
    world.feed.on_began = lambda _: seen.append(len(world.writes))
    world.feed.on_flush = lambda: seen.append(len(world.writes))
    world.feed.waiting = letters(2)
    world.pipe.kick()
    assert seen == [0, 0, 0]
    assert len(world.writes) == 1


CODES = [
    b"421 4.3.2 Shutting down", b"450 4.2.1 Later", b"451 4.7.1 Slow down", b"452 4.3.1 Full", b"550 5.1.1 Nobody here",
    b"554 5.7.1 No", b"500 5.5.2 What", b"502 5.5.1 No such command", b"503 5.5.1 Out of sequence",
    b"550-5.1.1 Nobody\r\n550 5.1.1 here", b"354 Go", b"250 2.0.0 Fine", b"220 Hm", b"what?", b"199 x", b"2",
    b"\xff\xfe",
]  # fmt: skip


@each_mode
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("anyway_354", [False, True])
def test_each_command_in_turn_is_answered_wrongly(mode: Mode, code: bytes, anyway_354: bool) -> None:
    honest = World(mode, letters(5)).end()
    for at in range(len(honest.server.commands)):
        own = honest.server.commands[at]
        if code[:1] == b"2" and len(code) > 3 and own in ("MAIL", "RCPT", "RSET", "."):
            continue  # an honest answer, or one that a later step shows to be none
        server = Provider(Fault(at=at, reply=code, close=code.startswith(b"421")), anyway_354=anyway_354)
        world = World(mode, letters(5), server).end()
        world.check()
        kinds = world.feed.kinds()
        if code[:1] in b"45" and code[:3] not in (b"421", b"500", b"502", b"503") and own not in ("RSET", "QUIT"):
            assert kinds.count("accepted") == 4, (at, own, kinds)
            assert len(kinds) == 5
            assert world.feed.endings[0].kind == "finished"


@each_mode
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
def test_all_are_refused_alike_and_none_of_them_is_lost(mode: Mode, verb: str) -> None:
    if mode is Mode.CHUNKING and verb == "DATA":
        verb = "."
    for anyway in (False, True):
        world = World(mode, letters(6), Provider(Fault(verbs=(verb,), reply=b"550 5.1.1 No"), anyway_354=anyway)).end()
        world.check()
        assert set(world.feed.kinds()) == {"relay_down" if verb == "MAIL" else "failed"}
        assert len(world.feed.ends) == 6


@pytest.mark.parametrize("mode", [Mode.LOCK_STEP, Mode.PIPELINING])
def test_354_for_nobody_is_answered_by_a_lone_dot(mode: Mode) -> None:
    """RFC 2920, 3.1; the body is for nobody to see."""
    server = Provider(Fault(at=1, reply=b"550 5.1.1 No"), anyway_354=True)
    world = World(mode, letters(2), server).end()
    world.check()
    assert world.feed.kinds() == ["failed", "accepted"]
    assert [message.token for message in world.feed.begun] == [1]
    assert (b".\r\n" in world.writes) == (mode is Mode.PIPELINING)


def test_503_to_the_first_mail_speaks_of_us_and_not_of_pipelining() -> None:
    world = World(Mode.PIPELINING, letters(1), Provider(Fault(at=0, reply=b"503 5.5.1 Send EHLO"))).end()
    assert world.feed.kinds() == ["relay_down"]
    assert world.feed.reports[0].problem is None


@each_mode
def test_replies_arrive_in_pieces_of_any_size(mode: Mode) -> None:
    for piece in (1, 2, 3, 7):
        world = World(
            mode, letters(6), Provider(Fault(at=9, reply=b"550-5.1.1 No\r\n550-5.1.1 such\r\n550 user")), piece=piece
        )
        world.end().check()
        assert world.feed.kinds().count("accepted") == 5


@each_mode
def test_the_server_stops_reading_at_each_byte(mode: Mode) -> None:
    total = World(mode, letters(4)).end().read
    for most in range(total):
        world = World(mode, letters(4), read_most=most).end()
        world.check()
        assert world.feed.kinds().count("lost_after") <= (4 if mode is Mode.CHUNKING else 1)


@each_mode
def test_the_replies_stop_at_each_byte(mode: Mode) -> None:
    total = World(mode, letters(4)).end().replied
    for most in range(total):
        world = World(mode, letters(4), reply_most=most).end()
        world.check()
        assert world.feed.kinds().count("lost_after") <= (4 if mode is Mode.CHUNKING else 1)


@each_mode
def test_a_reply_that_nobody_asked_for_ends_the_connection(mode: Mode) -> None:
    for at in range(len(World(mode, letters(4)).end().server.commands) - 1):
        world = World(mode, letters(4), Provider(Fault(at=at, extra=b"250 2.1.5 And more\r\n"))).end()
        world.check()
        assert world.feed.endings[0].kind == "out_of_step", at
        assert world.feed.reports[0].problem == "out_of_step"


def test_an_unasked_reply_on_an_idle_connection_ends_it() -> None:
    world = World(Mode.PIPELINING, [])
    world.pipe.data_received(b"250 hello?\r\n")
    assert world.feed.endings[0].kind == "out_of_step"
    idle = World(Mode.PIPELINING, [])
    idle.pipe.data_received(b"421 4.4.2 Idle too long\r\n")
    assert (idle.feed.endings[0].kind, idle.feed.endings[0].code) == ("busy", 421)


@pytest.mark.parametrize("mode", [Mode.LOCK_STEP, Mode.PIPELINING])
def test_a_reply_before_its_command_is_never_taken_for_its_answer(mode: Mode) -> None:
    """354 and the 250 for the body in one segment, before the body was written."""
    world = World(mode, letters(1), Provider(Fault(verbs=("DATA",), extra=b"250 2.0.0 Taken\r\n"))).end()
    world.check()
    assert world.feed.kinds() == ["lost_before"]
    assert world.feed.begun == []


@each_mode
def test_no_answer_is_a_retry_before_the_body_and_doubt_after_it(mode: Mode) -> None:
    for at, verb in enumerate(World(mode, letters(3)).end().server.commands[:-1]):
        world = World(mode, letters(3), Provider(Fault(at=at, reply=b""))).run()
        assert not world.pipe.gone or world.feed.endings[0].kind == "out_of_step"
        world.loop.advance(10.1)
        world.run()
        assert world.pipe.gone, verb
        world.check()


@pytest.mark.parametrize(("verb", "seconds"), [("MAIL", 5), ("RCPT", 5), ("DATA", 2), (".", 10)])
def test_each_phase_has_its_time(verb: str, seconds: float) -> None:
    """RFC 5321, 4.5.3.2."""
    server = Provider(Fault(verbs=(verb,), reply=b""))
    world = World(Mode.LOCK_STEP, letters(1), server).run()
    world.loop.advance(seconds - 0.1)
    assert not world.pipe.gone
    world.loop.advance(0.2)
    assert world.feed.endings[0].kind == "timeout"
    assert world.feed.kinds() == ["lost_after" if verb == "." else "lost_before"]


def test_the_time_counts_from_the_last_reply() -> None:
    world = World(Mode.LOCK_STEP, letters(1))
    world.loop.advance(4)
    world.run()  # every reply up to the last
    world.loop.advance(4)
    world.feed.waiting = letters(1)
    world.pipe.kick()
    world.loop.advance(4)
    assert not world.pipe.gone
    world.loop.advance(1.1)
    assert world.feed.endings[0].kind == "timeout"


def test_a_server_that_reads_nothing_is_given_up_and_one_that_reads_slowly_is_not() -> None:
    world = World(Mode.CHUNKING, letters(1))
    world.stuck = True
    for _ in range(8):
        world.loop.advance(2)
        world.to_server = world.to_server[1:]
    assert not world.pipe.gone
    world.loop.advance(6)
    assert world.feed.endings[0].kind == "timeout"
    assert world.feed.kinds() == ["lost_after"]


def test_an_idle_connection_has_no_time_limit() -> None:
    world = World(Mode.PIPELINING, letters(2)).run()
    world.loop.advance(100_000)
    assert not world.pipe.gone
    world.feed.waiting = letters(1)
    world.pipe.kick()
    world.end()
    assert world.feed.endings[0].kind == "finished"


@each_mode
def test_421_ends_the_session_and_what_has_not_begun_is_clean(mode: Mode) -> None:
    for at, verb in enumerate(World(mode, letters(4)).end().server.commands[:-1]):
        world = World(mode, letters(4), Provider(Fault(at=at, reply=b"421 4.7.0 Too many", close=True))).end()
        world.check()
        assert (world.feed.endings[0].kind, world.feed.endings[0].code) == ("busy", 421)
        kinds = world.feed.kinds()
        if verb != "RSET":
            assert kinds.count("throttled") == 1
        if mode is not Mode.CHUNKING:
            assert "lost_after" not in kinds


@each_mode
def test_a_connection_carries_no_more_than_it_may_and_then_quits(mode: Mode) -> None:
    world = World(mode, letters(7), most=5).run()
    assert world.pipe.gone
    assert world.feed.kinds() == ["accepted"] * 5
    assert (world.feed.endings[0].kind, world.server.commands[-1]) == ("finished", "QUIT")
    assert len(world.feed.waiting) == 2


@each_mode
def test_stop_finishes_what_is_on_the_wire(mode: Mode) -> None:
    world = World(mode, letters(50))
    for _ in range(5):
        world.step()
    world.pipe.stop()
    on_wire = world.pipe.on_wire
    assert on_wire
    world.run()
    assert world.feed.endings[0].kind == "finished"
    assert set(world.feed.kinds()) == {"accepted"}
    assert len(world.feed.taken) == len(world.feed.ends) < 50
    world.check()


def test_a_server_that_does_not_answer_quit_is_left() -> None:
    world = World(Mode.PIPELINING, [], Provider(Fault(verbs=("QUIT",), reply=b"")))
    world.pipe.stop()
    world.loop.advance(5.1)
    assert world.feed.endings[0].kind == "finished"


@each_mode
def test_what_is_not_ours_any_more_is_not_begun(mode: Mode) -> None:
    world = World(mode, letters(6))
    if mode is Mode.CHUNKING:
        world = World(mode, [])
    world.feed.ours = lambda message: message.token < 3
    world.feed.waiting = world.feed.waiting or letters(6)
    world.pipe.kick()
    world.end().check()
    kinds = world.feed.kinds()
    assert kinds[:4] == ["accepted"] * 3 + ["lost_before"]
    assert {message.token for message in world.feed.begun} == {0, 1, 2}
    assert {got.recipient for got in world.server.got} == {f"r{n}@example.com" for n in range(3)}


@each_mode
@pytest.mark.parametrize("where", ["next", "began", "ended", "flush"])
def test_a_feed_that_fails_sends_nothing_more(mode: Mode, where: str) -> None:
    """A full disk under the spool."""
    world = World(mode, [])
    calls = 0

    def fail(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise OSError(28, "No space left on device")

    setattr(world.feed, f"on_{where}", fail)
    world.feed.waiting = letters(30)
    world.pipe.kick()
    world.run()
    assert world.pipe.gone
    ending = world.feed.endings[0]
    assert (ending.kind, type(ending.error)) == ("feed", OSError)
    assert "No space left" in ending.text
    world.check()
    assert len(world.server.got) <= 24


@each_mode
@pytest.mark.parametrize("where", ["next", "began", "ended", "flush"])
def test_a_feed_may_abort_from_anywhere(mode: Mode, where: str) -> None:
    world = World(mode, [])
    calls = 0

    def abort(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            world.pipe.abort("halted")

    setattr(world.feed, f"on_{where}", abort)
    world.feed.next = lambda: _unguarded(world.feed)  # type: ignore[method-assign]
    world.feed.waiting = letters(12)
    world.pipe.kick()
    world.run()
    assert [ending.kind for ending in world.feed.endings] == ["aborted"]
    world.check()


def _unguarded(feed: ListFeed) -> Outgoing | None:
    feed.on_next()
    if not feed.waiting:
        return None
    feed.taken.append(feed.waiting.pop(0))
    return feed.taken[-1]


@ahead
def test_a_message_that_comes_later_joins_what_is_on_the_wire(mode: Mode) -> None:
    world = World(mode, letters(1))
    while world.server.commands[-1:] != ["DATA"] and mode is Mode.PIPELINING:
        world.step()
    world.step()
    world.feed.waiting = letters(2)[1:]
    world.pipe.kick()
    world.end().check()
    assert world.feed.kinds() == ["accepted"] * 2


@each_mode
def test_a_kick_from_within_a_feed_is_not_forgotten(mode: Mode) -> None:
    world = World(mode, letters(1))
    more = letters(2)[1:]

    def flush() -> None:
        if more and world.feed.ends:
            world.feed.waiting.append(more.pop())
            world.pipe.kick()

    world.feed.on_flush = flush
    world.run()
    world.loop.advance(0)
    world.run()
    assert world.feed.kinds() == ["accepted"] * 2


def test_a_server_that_has_closed_gets_nothing_more_and_what_it_has_replied_counts() -> None:
    world = World(Mode.CHUNKING, letters(1))
    world.pipe.data_received(ONE_TAKEN)
    put_off = [False]
    world.feed.flush = lambda: not put_off[0]  # type: ignore[method-assign]
    world.feed.waiting = letters(5)[1:3]
    world.pipe.kick()
    put_off[0] = True
    world.feed.waiting = letters(5)[3:]
    world.pipe.kick()
    assert (world.pipe.on_wire, len(world.feed.begun), len(world.writes)) == (4, 5, 2)
    world.pipe.hang_up()
    assert world.feed.kinds() == ["accepted", "lost_before", "lost_before"]
    world.pipe.release()
    assert len(world.writes) == 2
    world.pipe.data_received(ONE_TAKEN)
    world.pipe.eof_received()
    assert world.feed.kinds() == ["accepted", "accepted", "lost_after", "lost_before", "lost_before"]
    assert len(world.feed.endings) == 1


def test_nothing_is_taken_while_the_transport_takes_no_more() -> None:
    world = World(Mode.CHUNKING, [])
    world.pipe.pause_writing()
    world.feed.waiting = letters(3)
    world.pipe.kick()
    assert (world.feed.taken, world.writes) == ([], [])
    world.pipe.resume_writing()
    world.end()
    assert world.feed.kinds() == ["accepted"] * 3


def test_large_messages_do_not_pile_up_in_one_write() -> None:
    world = World(Mode.CHUNKING, letters(8, body="x" * 70 + "\r\n" * 1 + "y" * 100_000 + "\r\n"))
    world.pipe.data_received(ONE_TAKEN)
    assert world.pipe.on_wire == 2
    world = World(Mode.CHUNKING, letters(8, body="x" * 70 + "\r\n" * 1 + "y" * 100_000 + "\r\n"))
    world.end().check()
    assert world.feed.kinds() == ["accepted"] * 8


@ahead
def test_a_pipeline_that_is_refused_says_so_and_is_nobodys_failure(mode: Mode) -> None:
    """503 to RCPT whose MAIL was accepted: the server lost its place."""
    world = World(mode, letters(5), Provider(Fault(verbs=("RCPT",), reply=b"503 5.5.1 Bad sequence"))).end()
    world.check()
    assert set(world.feed.kinds()) == {"lost_before"}
    assert world.feed.reports[0].problem == "refused"
    assert world.feed.endings[0].kind == "finished"


def test_a_server_that_refuses_the_recipient_and_takes_the_message_leaves_it_in_doubt() -> None:
    world = World(Mode.CHUNKING, letters(1))
    world.pipe.data_received(b"250 2.1.0 Ok\r\n550 5.1.1 No\r\n250 2.6.0 Taken\r\n")
    assert world.feed.kinds() == ["lost_after"]
    assert world.feed.endings[0].kind == "out_of_step"


def test_an_envelope_is_not_sent_by_a_dot_when_the_recipient_was_taken_without_a_sender() -> None:
    world = World(Mode.PIPELINING, letters(1))
    world.pipe.data_received(b"550 5.1.8 No\r\n250 2.1.5 Ok\r\n354 Go\r\n")
    assert world.feed.kinds() == ["relay_down"]
    assert world.feed.endings[0].kind == "out_of_step"
    assert len(world.writes) == 1


def test_a_reply_that_speaks_of_an_address_does_not_accept_a_message() -> None:
    world = World(Mode.CHUNKING, letters(2))
    world.pipe.data_received(b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n")
    assert world.feed.kinds() == ["lost_after"]
    world = World(Mode.PIPELINING, letters(2))
    world.pipe.data_received(b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 Go\r\n")
    world.pipe.data_received(b"250 2.1.0 Sender ok\r\n")
    assert world.feed.kinds() == ["lost_after", "lost_before"]


@pytest.mark.parametrize(
    ("message", "offer", "enhanced", "reason"),
    [
        (Outgoing("a@b.example", "c@d.example", b"x" * 101), Offer(size=100), "5.3.4", "too_big"),
        (Outgoing("a@b.example", "josé@d.example", b"x", smtputf8=True), Offer(eight_bit=True), "5.6.7", "policy"),
        (Outgoing("a@b.example", "c@d.example", "ñ".encode()), Offer(), "5.6.3", "policy"),
        (Outgoing("a@b.example", "c@d.example>\r\nRCPT TO:<x@y.example", b"x"), Offer(), "5.1.3", "bad_mailbox"),
        (Outgoing("a@b.example", "josé@d.example", b"x"), Offer(), "5.1.3", "bad_mailbox"),
        (Outgoing("a@b.example", "\ud800@d.example", b"x", smtputf8=True), EVERYTHING, "5.1.3", "bad_mailbox"),
    ],
)
@each_mode
def test_what_cannot_go_to_this_relay_reaches_no_wire(
    mode: Mode, message: Outgoing, offer: Offer, enhanced: str, reason: str
) -> None:
    world = World(mode, [message], offer=offer)
    assert world.writes == []
    ((_, outcome),) = world.feed.ends
    assert (outcome.kind, outcome.enhanced, outcome.reason) == ("failed", enhanced, reason)
    assert world.feed.begun == []
    world.feed.waiting = letters(1)
    world.pipe.kick()
    world.end()
    assert [o.kind for _, o in world.feed.ends] == ["failed", "accepted"]


@each_mode
def test_extensions_are_used_where_they_are_needed(mode: Mode) -> None:
    world = World(mode, [Outgoing("a@b.example", "josé@d.example", "ñ\r\n".encode(), smtputf8=True)])
    world.end()
    assert b"MAIL FROM:<a@b.example> SIZE=4 SMTPUTF8 BODY=8BITMIME\r\n" in b"".join(world.writes)
    plain = World(mode, letters(1), offer=Offer(pipelining=True, chunking=True)).end()
    assert b"MAIL FROM:<b0@bore.example>\r\n" in b"".join(plain.writes)


@each_mode
def test_the_relays_own_name_for_a_message_is_kept(mode: Mode) -> None:
    ((_, outcome),) = World(mode, letters(1)).end().feed.ends
    assert outcome == Outcome("accepted", 250, "2.6.0", "queued as X1", "X1", "", "message")


@each_mode
def test_a_reply_without_end_is_cut_off(mode: Mode) -> None:
    world = World(mode, letters(1))
    for _ in range(10):
        world.pipe.data_received(b"250 " + b"x" * 1000)
    assert world.feed.endings[0].kind == "out_of_step"
    lines = World(mode, letters(1))
    lines.pipe.data_received(b"250-more\r\n" * 101)
    assert lines.feed.endings[0].kind == "out_of_step"


@settings(max_examples=300, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    count=st.integers(1, 12),
    window=st.integers(1, 9),
    most=st.integers(1, 15),
    at=st.integers(0, 45),
    reply=st.sampled_from([None, b"", *CODES[:11]]),
    close=st.booleans(),
    anyway=st.booleans(),
    piece=st.integers(1, 400),
    read_most=st.integers(0, 2500),
    reply_most=st.integers(0, 2500),
    stop_after=st.integers(0, 60),
)
def test_whatever_happens_each_message_has_one_true_outcome(
    mode: Mode, count: int, window: int, most: int, at: int, reply: bytes | None, close: bool, anyway: bool, piece: int,
    read_most: int, reply_most: int, stop_after: int,
) -> None:  # fmt: skip
    server = Provider(Fault(at=at, reply=reply, close=close), anyway_354=anyway)
    world = World(
        mode, letters(count), server, most=most, window=window, piece=piece, read_most=read_most, reply_most=reply_most
    )
    for _ in range(stop_after):
        if not world.step():
            world.loop.advance(0.5)
    world.end().check()
