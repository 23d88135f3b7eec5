"""Machines on a network of their own: each is a network namespace, and a bridge joins them.

The program runs in namespaces without names, which the kernel removes when it ends, in whatever way, with all processes
in them. So two programs do not see each other, and one that is killed leaves nothing running.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

SWITCH = "10.77.0.1"
"""The address of this program. A fault of a machine cuts this program off from it, too."""
_INSIDE = "CHAOS_INSIDE"
_NEW_NET = 0x40000000  # CLONE_NEWNET
# The shell is the first process: it reaps what others leave, and its end ends everything.
_UNSHARE = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
_TABLE = """
add table inet chaos
add chain inet chaos in { type filter hook input priority 0 ; }
add chain inet chaos out { type filter hook output priority 0 ; }
"""


def move_inside():
    """Run this program again, in namespaces of its own, unless it is there already.

    Raises:
        SystemExit: This user may not make namespaces.
    """
    if os.environ.get(_INSIDE):
        return
    if os.geteuid() != 0:
        sys.exit("--machines makes network namespaces, which needs root")
    command = [sys.executable, "-m", "chaos", *sys.argv[1:]]
    os.environ[_INSIDE] = "yes"
    os.execvp(_UNSHARE[0], [*_UNSHARE, "sh", "-c", '"$@"; exit $?', "sh", *command])  # noqa: S606 - it becomes that


class Network:
    """The bridge and its machines, by name; the machines' processes end with the program."""

    def __init__(self, names):
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "switch", "type", "bridge")
        _run("ip", "address", "add", f"{SWITCH}/24", "dev", "switch")
        _run("ip", "link", "set", "switch", "up")
        self._here = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.machines = {
            name: Machine(name, f"10.77.0.{number}", self._here) for number, name in enumerate(names, 2)
        }

    def heal(self):
        """All lines are whole, and nothing is stopped."""
        for machine in self.machines.values():
            machine.heal()


class Machine:
    """One of them.

    Attributes:
        address: Its address.
    """

    def __init__(self, name, address, here):
        self.name, self.address = name, address
        self._here = here
        self._line = f"to-{address.rpartition('.')[2]}"
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._namespace = Path(f"/proc/{self._holder.pid}/ns/net")
        while self._namespace.readlink() == Path("/proc/self/ns/net").readlink():
            time.sleep(0.01)
        self._there = os.open(self._namespace, os.O_RDONLY)
        pid = str(self._holder.pid)
        _run("ip", "link", "add", self._line, "type", "veth", "peer", "name", "eth0", "netns", pid)
        _run("ip", "link", "set", self._line, "master", "switch", "up")
        self._run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        self._run("ip", "link", "set", "eth0", "up")
        self._run("ip", "link", "set", "lo", "up")
        self._run("nft", "-f", "-", given=_TABLE)

    @contextmanager
    def inside(self):
        """What this thread starts inside runs on this machine."""
        _enter(self._there)
        try:
            yield
        finally:
            _enter(self._here)

    def lose(self, *, arriving, leaving, port=None):
        """Lose so many of a hundred packets in each direction; with a port, only those of its service."""
        self.heal_line()
        for chain, percent, interface, of in (
            ("in", arriving, "iifname", "dport"),
            ("out", leaving, "oifname", "sport"),
        ):
            lost = f"numgen random mod 100 < {percent} drop" if percent < 100 else "drop"
            service = "" if port is None else f"tcp {of} {port} "
            if percent:
                self._run("nft", f'add rule inet chaos {chain} {interface} "eth0" {service}{lost}')

    def narrow(self, kilobits):
        """So many kilobits a second pass in each direction: what is sent waits."""
        shaped = ("root", "tbf", "rate", f"{kilobits}kbit", "burst", "3000", "latency", "3s")
        _run("tc", "qdisc", "replace", "dev", self._line, *shaped)
        self._run("tc", "qdisc", "replace", "dev", "eth0", *shaped)

    def heal_line(self):
        self._run("nft", "flush table inet chaos")

    def widen(self):
        with suppress(subprocess.CalledProcessError):  # there is nothing to remove
            _run("tc", "qdisc", "del", "dev", self._line, "root")
            self._run("tc", "qdisc", "del", "dev", "eth0", "root")

    def stop(self):
        """SIGSTOP all its processes: as a machine whose memory is copied elsewhere."""
        for _ in range(2):  # what was just forked, too
            self._signal(signal.SIGSTOP)

    def go_on(self):
        self._signal(signal.SIGCONT)

    def heal(self):
        self.heal_line()
        self.widen()
        self.go_on()

    def _signal(self, number):
        there = self._namespace.readlink()
        for folder in Path("/proc").iterdir():
            with suppress(OSError):  # it has ended
                pid = int(folder.name) if folder.name.isdigit() else 0
                if pid not in (0, self._holder.pid, os.getpid()) and (folder / "ns/net").readlink() == there:
                    os.kill(pid, number)

    def _run(self, *command, given=None):
        _run("nsenter", f"--net={self._namespace}", *command, given=given)


def _enter(namespace):
    """Of this thread alone."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _NEW_NET):
        raise OSError(ctypes.get_errno(), "this thread cannot enter the network namespace")


def _run(*command, given=None):
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    environ = {**os.environ, "PATH": path}
    subprocess.run(command, check=True, input=given, text=True, env=environ, capture_output=True)
