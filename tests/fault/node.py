"""A node to be mistreated: a network namespace with veth devices, an instance of penstock of its own, and its wire."""
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile

import bpf

BUILD = os.path.realpath(os.environ.get("BUILD", "build"))
PENSTOCK = os.path.join(BUILD, "penstock")


# What is tested here is not what the files cut off: every risk is accepted.
ACCEPT = tuple(word for risk in ("lose-ssh", "lose-nd", "lose-dhcp", "lose-replies") for word in ("--accept-risk", risk))
NOW = ("--confirm", "never", *ACCEPT)
WAIT = ("--confirm", "1h", *ACCEPT)


class Failed(Exception):
    pass


def check(what, condition, *detail):
    if not condition:
        raise Failed(what + ("".join("\n  " + str(d) for d in detail)))


def equal(what, got, expected):
    check(what, got == expected, f"expected {expected}", f"got      {got}")


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def must(*command):
    done = run(*command)
    check(" ".join(command), done.returncode == 0, done.stdout, done.stderr)
    return done.stdout


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(source, payload=b"penstock"):
    """An Ethernet frame with a UDP packet from `source` to the node."""
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton("192.0.2.1"))
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return b"\xff" * 6 + b"\2\0\0\0\0\1" + b"\x08\x00" + head + struct.pack("!HHHH", 4000, 9, 8 + len(payload), 0) + payload


# Generation k drops what comes from 10.k.0.0/16 and nothing else: which one judges shows in what it drops.
KINDS = 6
PROBES = {k: bpf.Probe(udp(f"10.{k}.0.1")) for k in range(1, KINDS + 1)}


def drops(program):
    return frozenset(k for k, probe in PROBES.items() if probe.run(program) == bpf.XDP_DROP)


class Node:
    count = 0

    def __init__(self, devices=2, padding=0):
        """padding: how many rules that match no probe stand before that of each kind; with some, it is a classifier."""
        self.padding = padding
        Node.count += 1
        self.name = f"psfault-{os.getpid()}-{Node.count}"
        self.wire = self.name + "-w"
        self.devices = [f"v{i}" for i in range(devices)]
        self.bpf = "/sys/fs/bpf/penstock/" + self.name
        self.state = "/var/lib/penstock/" + self.name
        self.run_dir = "/run/penstock/" + self.name
        self.files = tempfile.mkdtemp(prefix=self.name + "-")
        self.steps_file = self.files + "/steps"

    def __enter__(self):
        for name in (self.name, self.wire):
            must("ip", "netns", "add", name)
            must("nsenter", "--net=/run/netns/" + name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        for device in self.devices:
            self.add_device(device)
        return self

    def __exit__(self, *_):
        run("nsenter", "--net=/run/netns/" + self.name, PENSTOCK, "--instance", self.name, "off")
        for name in (self.name, self.wire):
            run("ip", "netns", "delete", name)
        for path in (self.bpf, self.state, self.run_dir, self.files):
            shutil.rmtree(path, ignore_errors=True)

    def add_device(self, device):
        must("ip", "-n", self.name, "link", "add", device, "type", "veth", "peer", "name", device, "netns", self.wire)
        must("ip", "-n", self.name, "link", "set", device, "up", "arp", "off")
        must("ip", "-n", self.wire, "link", "set", device, "up", "arp", "off")

    # --- penstock -------------------------------------------------------------------------------------------------
    def command(self, *arguments):
        return ["nsenter", "--net=/run/netns/" + self.name, PENSTOCK, "--instance", self.name, *arguments]

    def environment(self, kill_at=None, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("SSH_")} | {"PENSTOCK_STEPS": self.steps_file} | more
        if kill_at:
            env["PENSTOCK_KILL_AT"] = kill_at
        return env

    def penstock(self, *arguments, kill_at=None, code=0, **more):
        """Runs penstock.  code: the exit code it must have, None for any; it must have been killed if kill_at is given."""
        if os.path.exists(self.steps_file):
            os.unlink(self.steps_file)
        done = run(*self.command(*arguments), env=self.environment(kill_at, **more))
        if kill_at:
            code = -9
        if code is not None:
            check(f"penstock {' '.join(arguments)}: exit code {done.returncode}, expected {code}", done.returncode == code, done.stdout, done.stderr)
        return done

    def steps(self):
        """The steps that the last command passed."""
        return open(self.steps_file).read().split("\n")[:-1] if os.path.exists(self.steps_file) else []

    def moments(self):
        """The same, in the form of PENSTOCK_KILL_AT: every step that a command can be killed at."""
        seen, out = {}, []
        for name in self.steps():
            seen[name] = seen.get(name, 0) + 1
            out.append(f"{name}:{seen[name]}")
        return out

    def write(self, name, text):
        path = f"{self.files}/{name}.yaml"
        with open(path, "w") as file:
            file.write(text)
        return path

    def kind(self, k, match=None, mode="auto"):
        """The file of generation k on the devices of `match` (all)."""
        names = match or self.devices
        interfaces = "".join(f"  {d}: {{ match: {d}, xdp: {mode} }}\n" for d in names)
        attach = ", ".join(d + ".ingress" for d in names)
        padding = "".join(f"      - {{ name: pad-{i}, from: 172.16.{i}.0/24, proto: udp, to-port: {i + 1}, action: drop }}\n" for i in range(self.padding))
        return self.write(f"kind-{k}-{'-'.join(names)}-{mode}", f"""version: 1
interfaces:
{interfaces}policies:
  edge:
    attach: [{attach}]
    default: accept
    rules:
{padding}      - {{ name: kind-{k}, from: 10.{k}.0.0/16, action: drop }}
""")

    def apply(self, file, *options, **more):
        if "--confirm" not in options:
            options = ("--confirm", "never", *options)
        return self.penstock("apply", *options, *ACCEPT, file, **more)

    def status(self):
        return json.loads(self.penstock("status", "--json").stdout)

    def plan(self, file):
        return json.loads(self.penstock("plan", "--json", file).stdout)

    # --- the kernel -----------------------------------------------------------------------------------------------
    def attached(self):
        """id of the program attached to each device, 0 for none, as the kernel tells anybody"""
        links = json.loads(must("ip", "-n", self.name, "-j", "link", "show"))
        return {l["ifname"]: l.get("xdp", {}).get("prog", {}).get("id", 0) for l in links if l["ifname"] != "lo"}

    def judges(self):
        """Which generations' drops happen on each device: {} where nothing is attached or nothing is dropped."""
        out = {}
        for device, number in self.attached().items():
            out[device] = frozenset()
            if number:
                program = bpf.program_fd(number)
                out[device] = drops(program)
                os.close(program)
        return out

    def judged_by(self, k, devices=None):
        devices = self.devices if devices is None else devices
        return {d: frozenset([k]) if k and d in devices else frozenset() for d in self.devices}

    def word(self):
        """deadline, from, to, start, window of the transaction, or None"""
        try:
            fd = bpf.obj_get(self.bpf + "/txn/word")
        except FileNotFoundError:
            return None
        value = struct.unpack("5Q", bpf.lookup(fd, 0, 40))
        os.close(fd)
        return value

    def expire(self):
        """Moves the deadline of the change that waits to this moment: time passes without waiting for it."""
        self.set_deadline(bpf.coarse_now())

    def set_deadline(self, deadline):
        fd = bpf.obj_get(self.bpf + "/txn/word")
        _, *rest = struct.unpack("5Q", bpf.lookup(fd, 0, 40))
        bpf.update(fd, 0, struct.pack("5Q", deadline & ~1, *rest))
        os.close(fd)

    def tidy(self, generations, devices=None):
        """Nothing lies about but what the generations that run need; programs are attached without a gate."""
        there = set(os.listdir(self.bpf)) if os.path.isdir(self.bpf) else set()
        equal("generations in bpffs", {n for n in there if n.startswith("gen-")}, {f"gen-{n}" for n in generations})
        check("no transaction is left in bpffs", "txn" not in there, there)
        check("nothing unknown is in bpffs", {n for n in there if not n.startswith("gen-")} <= {"state", "links", "shared", "spare"}, there)
        revisions = self.state + "/revisions"
        for entry in os.listdir(revisions) if os.path.isdir(revisions) else []:
            check("no half revision", not entry.endswith(".new"), entry)
            check("no candidate left in the history", open(f"{revisions}/{entry}/status").read() != "candidate", entry)
        if not generations:
            return
        pins = {n for n in os.listdir(f"{self.bpf}/gen-{generations[0]}") if n.startswith("hook-")}
        own = set()
        for pin in pins:
            fd = bpf.obj_get(f"{self.bpf}/gen-{generations[0]}/{pin}")
            own.add(bpf.program_id(fd))
            os.close(fd)
        for device, number in self.attached().items():
            if number if devices is None else device in devices:
                check(f"{device} runs generation {generations[0]} itself", number in own, number, own)

    def running(self):
        """The confirmed generation, from the pinned state."""
        fd = bpf.obj_get(self.bpf + "/state")
        value = struct.unpack("QQQQ", bpf.lookup(fd, 0, 32))[1]
        os.close(fd)
        return value

    def packet_socket(self, name, device, protocol):
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        bpf.enter_network(name)
        out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
        out.bind((device, protocol))
        bpf.libc.setns(here, 0x40000000)
        os.close(here)
        return out

    def raw_socket(self, device):
        """A socket on the other end of `device`, to send."""
        return self.packet_socket(self.wire, device, 0)

    def wire_socket(self, device):
        """A socket that sees what the node sends to `device`."""
        return self.packet_socket(self.wire, device, 0x0800)

    def own_socket(self, device):
        """A socket that sees what XDP on `device` lets through."""
        return self.packet_socket(self.name, device, 0x0800)

    def slots(self):
        """Numbers of the counters of all rules that kept revisions name, by policy/rule."""
        out = {}
        revisions = self.state + "/revisions"
        for entry in sorted(os.listdir(revisions)):
            for line in open(f"{revisions}/{entry}/slots"):
                number, _, _, _, _, _, policy, rule, *_ = line.rstrip("\n").split("\t")
                if policy:
                    out.setdefault(f"{policy}/{rule or 'default'}", set()).add(int(number))
        return out

    def counters(self):
        """The map of counters of the generation that runs, as an open descriptor."""
        return bpf.obj_get(f"{self.bpf}/gen-{self.running()}/counters")


def lanes():
    first, _, last = open("/sys/devices/system/cpu/possible").read().strip().split(",")[-1].partition("-")
    return int(last or first) + 2


def total(counters, slot):
    _, _, entries = bpf.map_shape(counters)
    stride = entries // lanes()
    return sum(struct.unpack("QQ", bpf.lookup(counters, lane * stride + slot, 16))[0] for lane in range(lanes())) if slot < stride else 0


def cases(module):
    """Runs the functions of a module named case_*, or those named on the command line; one line each."""
    def interrupted(*_):
        sys.exit(130)  # through every `with`, which removes what it made

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, interrupted)
    wanted = sys.argv[1:]
    failed = 0
    for name, function in list(vars(module).items()):
        if not name.startswith("case_") or (wanted and name[5:] not in wanted):
            continue
        try:
            note = function()
            print(f"ok       {name[5:]}{': ' + note if note else ''}", flush=True)
        except Missing as missing:
            print(f"MISSING  {name[5:]}: {missing}", flush=True)
        except Exception as error:  # a broken test is a failed one
            failed += 1
            where = error.__traceback__
            while where.tb_next and where.tb_next.tb_frame.f_code.co_filename == module.__file__:
                where = where.tb_next
            print(f"FAIL     {name[5:]} (line {where.tb_lineno}): {type(error).__name__ if not isinstance(error, Failed) else ''} {error}", flush=True)
    return failed


class Missing(Exception):
    """A capability is missing; its message names it."""
