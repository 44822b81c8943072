"""Child processes that cannot outlive us, and small things around them.

A child is bound to its parent by `PR_SET_PDEATHSIG` (prctl(2)). That is set by a tiny launcher, which then
becomes the child by exec, and not by `preexec_fn`, which may deadlock in a process with threads. The kernel
sends the signal when the *thread* that started the child ends, so start children from a thread that lives
as long as they should.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_LAUNCHER = """\
import os, sys
parent, number, argv = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, number, 0, 0, 0)
if os.getppid() != parent:
    sys.exit("the parent process has ended")
try:
    os.execvp(argv[0], argv)
except OSError as error:
    sys.exit(f"cannot start {argv[0]}: {error.strerror}")
"""


def bound_to_parent(argv: Sequence[str], signum: int = signal.SIGKILL) -> list[str]:
    """A command line that runs `argv` under its own pid and gets `signum` when this process ends."""
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(int(signum)), *argv]


def start(
    argv: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    bound: bool = True,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `argv` with its output appended to `log`.

    The child has a session of its own, so Ctrl-C in a terminal reaches only us, and we decide in which
    order things stop. With `bound` it is killed when we die. `keep_open` names descriptors that it inherits.

    Raises OSError when the program cannot be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            bound_to_parent(argv) if bound else list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
            pass_fds=tuple(keep_open),
        )


def stop(process: subprocess.Popen[bytes], deadline: float) -> int:
    """SIGTERM, and SIGKILL when it has not ended after `deadline` seconds. Returns the exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(deadline)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def tail(log: Path, lines: int = 20, start: int = 0) -> str:
    """The last lines of a log file from its byte `start` on, empty when there is none (yet)."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(start, stream.tell() - 400 * lines))
            text = stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether we could listen on that port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
