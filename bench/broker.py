"""What bench/scenarios, bench/soak, bench/connections and bench/start share: a broker of their own that ends with them.

Whatever ends a script (its end, an exception, Ctrl-C, SIGTERM) ends its broker and removes its directory: both are used
by `with`. If it is killed outright, the kernel ends what was started with `die_with_parent`.
"""
import argparse
import contextlib
import ctypes
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
STARTS_WITHIN = 30
ENDS_WITHIN = 30
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def end_on_signals():
    """From now on Ctrl-C and SIGTERM are a SystemExit, also where a shell that runs this in the background has SIGINT
    ignored. Only the first counts: what it ends is ended in peace."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def end(number, _):
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    for each in numbers:
        signal.signal(each, end)


def die_with_parent():
    """For `preexec_fn`."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def work_directory(name):
    """For `with`: a fresh directory below build/, which is removed afterwards."""
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}.", dir=ROOT / "build", ignore_cleanup_errors=True) as path:
        yield pathlib.Path(path)


def add_build_option(parser):
    def directory(text):
        path = pathlib.Path(text).resolve()
        for program in ("waybilld", "waybill"):
            if not (path / "bin" / program).is_file():
                raise argparse.ArgumentTypeError(
                    f"there is no {path}/bin/{program}; cmake --preset release && cmake --build --preset release")
        return path

    parser.add_argument("--build", metavar="DIR", type=directory, default=str(ROOT / "build/release"),
                        help="with bin/waybilld and bin/waybill; build/release")


def at_least_one(text):
    """An argument's value."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of at least 1")
    return int(text)


class Broker:
    """On a free port of 127.0.0.1, with its data below `directory`."""

    def __init__(self, build, directory, *more, shards=2):
        self.data = directory / "data"
        ready = directory / "ready.json"
        ready.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [build / "bin/waybilld", "--data", self.data, "--listen", "127.0.0.1:0", "--http", "off", "--shards",
             str(shards), "--log-level", "warning", "--ready-file", ready, *more], preexec_fn=die_with_parent)
        try:
            self.port = self._port_when_ready(ready)
        except BaseException:
            self.stop()
            raise
        self.address = f"127.0.0.1:{self.port}"

    def _port_when_ready(self, ready):
        until = time.monotonic() + STARTS_WITHIN
        while not (ready.exists() and ready.stat().st_size):
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit("the broker does not start")
            time.sleep(0.001)
        return json.loads(ready.read_text())["port"]

    def stop(self):
        """Its exit code, 0 if it ended well. Once it has ended, only that."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self):
        self.process.kill()
        return self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def resident_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
