"""The brokers that bench/peers/run compares: how each is started, with which settings, and what a
confirmation of it means.

Each server gets a directory of its own and ports of its own on 127.0.0.1, dies with the script that
started it, and is ended by its process id.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import time

START_S = 120
STOP_S = 30
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)

SYNCED = "yes"


class Failed(Exception):
    """Something a person needs to know; the message says it."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def answers(port, question, answer):
    """Whether the server at `port` says `answer` to `question` (bytes)."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.settimeout(2)
            if question:
                connection.sendall(question)
            return connection.recv(512).startswith(answer)
    except OSError:
        return False


def output_of(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


class Server:
    """One kind of server. Subclasses set these and say how to start it."""

    name = ""
    synced = ""  # before a confirmation: SYNCED, or what happens instead
    driver = ""  # in the directory of drivers; empty: `waybill bench`
    driver_options = ()
    package = ""
    # At maximum: chosen by trials of 1 to 8 publishers with 250 to 4000 in flight each.
    publishers, in_flight = 4, 4000

    def __init__(self, tools):
        self.tools = tools  # directories: `bin` of Waybill, `drivers`
        self.processes = []
        self.directory = None
        self.address = None

    def problem(self):
        """Why this one cannot run here; None if it can."""
        return None

    def version(self):
        return output_of("dpkg-query", "-W", "-f", "${Package} ${Version}", self.package)

    def start(self, directory):
        self.directory = directory
        os.makedirs(directory)
        try:
            self.launch()
        except BaseException:
            self.stop()
            raise

    def launch(self):
        raise NotImplementedError

    def spawn(self, command, **environment):
        with open(os.path.join(self.directory, "log"), "ab") as log:
            process = subprocess.Popen(
                command, cwd=self.directory, env={**os.environ, **environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=_die_with_parent)
        self.processes.append(process)
        return process

    def await_ready(self, ready):
        limit = time.monotonic() + START_S
        while not ready():
            if self.processes[-1].poll() is not None or time.monotonic() > limit:
                with open(os.path.join(self.directory, "log"), encoding="utf-8",
                          errors="replace") as log:
                    raise Failed(f"{self.name} did not start:\n{log.read()[-3000:]}")
            time.sleep(0.1)

    @property
    def pid(self):
        return self.processes[-1].pid

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_memory_mib(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return 0

    def stop(self):
        """Ends what was started, the last first, and removes its directory."""
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []
        shutil.rmtree(self.directory, ignore_errors=True)

    def command(self, scenario, seconds, warm_up, result):
        """The driver's command line for a scenario."""
        words = [os.path.join(self.tools.drivers, self.driver), scenario["kind"], self.address]
        words += [*self.driver_options, "--duration-ms", str(int(seconds * 1000))]
        words += ["--warm-up-ms", str(int(warm_up * 1000)), "--result", result]
        return words + self.load_options(scenario)

    def load_options(self, scenario):
        words = ["--size", str(scenario["size"])]
        words += ["--publishers", str(scenario.get("publishers", self.publishers))]
        if "rate" in scenario:
            return words + ["--rate", str(scenario["rate"])]
        return words + ["--in-flight", str(scenario.get("in_flight", self.in_flight))]


class Waybill(Server):
    name = "waybill"
    synced = SYNCED
    engine = "auto"
    publishers, in_flight = 4, 2000

    def version(self):
        return output_of(os.path.join(self.tools.bin, "waybilld"), "--version")

    def launch(self):
        ready = os.path.join(self.directory, "ready.json")
        self.spawn([os.path.join(self.tools.bin, "waybilld"), "--data",
                    os.path.join(self.directory, "data"), "--listen", "127.0.0.1:0",
                    "--http", "off", "--disk", self.engine, "--log-level", "warning",
                    "--ready-file", ready])
        self.await_ready(lambda: os.path.exists(ready) and os.path.getsize(ready) > 0)
        with open(ready, encoding="utf-8") as file:
            self.address = f"127.0.0.1:{json.load(file)['port']}"

    def command(self, scenario, seconds, warm_up, result):
        words = [os.path.join(self.tools.bin, "waybill"), "--quiet", "--broker", self.address]
        words += ["bench", scenario["kind"], "--duration", f"{int(seconds * 1000)}ms"]
        words += ["--warm-up", f"{int(warm_up * 1000)}ms", "--result", result]
        return words + self.load_options(scenario)


class WaybillPool(Waybill):
    """With the disk engine whose calls a tracer sees; only for --verify."""

    name = "waybill (--disk pool)"
    engine = "pool"


class RabbitQuorum(Server):
    name = "rabbitmq quorum queue"
    synced = SYNCED
    driver = "rabbitmq_driver"
    driver_options = ("--queue-type", "quorum")
    package = "rabbitmq-server"
    publishers, in_flight = 4, 1000
    # Not the wrapper in the path: that one changes to another user.
    program = "/usr/lib/rabbitmq/bin/rabbitmq-server"

    def problem(self):
        return None if os.path.exists(self.program) else f"there is no {self.program}"

    def launch(self):
        port, names_port = free_port(), free_port()
        self.write("rabbitmq.conf", f"listeners.tcp.1 = 127.0.0.1:{port}\nlog.console.level = warning\n")
        self.write("advanced.config", "[].\n")
        self.write("plugins", "[].\n")
        self.write("env", "")
        # Erlang's names server, which would otherwise start by itself and stay.
        self.spawn(["epmd", "-port", str(names_port), "-address", "127.0.0.1"])
        file = lambda name: os.path.join(self.directory, name)
        self.spawn(
            [self.program], HOME=self.directory, ERL_EPMD_PORT=str(names_port),
            RABBITMQ_CONF_ENV_FILE=file("env"), RABBITMQ_CONFIG_FILE=file("rabbitmq.conf"),
            RABBITMQ_ADVANCED_CONFIG_FILE=file("advanced.config"),
            RABBITMQ_ENABLED_PLUGINS_FILE=file("plugins"), RABBITMQ_PID_FILE=file("pid"),
            RABBITMQ_MNESIA_BASE=file("data"), RABBITMQ_LOG_BASE=file("logs"), RABBITMQ_LOGS="-",
            RABBITMQ_NODENAME="peers@localhost", RABBITMQ_DIST_PORT=str(free_port()),
            # Schedulers that wait without burning cycles: what its guide advises for shared cores.
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+sbwt none +sbwtdcpu none +sbwtdio none "
            "-kernel inet_dist_use_interface {127,0,0,1}",
            RUNNING_UNDER_SYSTEMD="1")  # the program itself, without a shell that stays above it
        self.await_ready(lambda: answers(port, b"AMQP\0\0\x09\x01", b"\x01"))
        self.address = f"127.0.0.1:{port}"

    def write(self, name, text):
        with open(os.path.join(self.directory, name), "w", encoding="utf-8") as file:
            file.write(text)


class RabbitStream(RabbitQuorum):
    name = "rabbitmq stream"
    synced = "no: left to the kernel"
    driver_options = ("--queue-type", "stream")


class Nats(Server):
    name = "nats jetstream"
    synced = "no: every 2 min"
    driver = "nats_driver"
    package = "nats-server"
    program = "/usr/sbin/nats-server"
    publishers, in_flight = 4, 250
    settings = ""

    def problem(self):
        if not os.path.exists(self.program):
            return f"there is no {self.program}"
        return None

    def configure(self, directory, port):
        path = os.path.join(directory, "nats.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'listen: "127.0.0.1:{port}"\n'
                       f'jetstream {{\n  store_dir: "{directory}/data"\n{self.settings}}}\n')
        return path

    def launch(self):
        port = free_port()
        self.spawn([self.program, "-c", self.configure(self.directory, port)])
        self.await_ready(lambda: answers(port, b"", b"INFO"))
        self.address = f"127.0.0.1:{port}"


class NatsAlways(Nats):
    name = "nats jetstream, sync always"
    synced = SYNCED
    settings = "  sync_interval: always\n"

    def problem(self):
        missing = super().problem()
        if missing:
            return missing
        path = self.configure(self.tools.scratch, 1)
        if subprocess.run([self.program, "-t", "-c", path], capture_output=True,
                          check=False).returncode != 0:
            return f"{self.version()} does not know sync_interval (2.10 brought it)"
        return None


class Redis(Server):
    name = "redis stream, everysec"
    synced = "no: once a second"
    driver = "redis_driver"
    package = "redis-server"
    program = "/usr/bin/redis-server"
    policy = "everysec"

    def problem(self):
        return None if os.path.exists(self.program) else f"there is no {self.program}"

    def launch(self):
        port = free_port()
        # No snapshots and no rewriting of the file beside the load.
        self.spawn([self.program, "--port", str(port), "--bind", "127.0.0.1", "--dir",
                    self.directory, "--daemonize", "no", "--save", "", "--appendonly", "yes",
                    "--appendfsync", self.policy, "--auto-aof-rewrite-percentage", "0"])
        self.await_ready(lambda: answers(port, b"PING\r\n", b"+PONG"))
        self.address = f"127.0.0.1:{port}"


class RedisAlways(Redis):
    name = "redis stream, always"
    synced = SYNCED
    policy = "always"


ALL = (Waybill, RabbitQuorum, RabbitStream, Nats, NatsAlways, Redis, RedisAlways)
