"""A packet that the node carries from one hook to another while generations change is judged by one of them.

  wire v0 ──▶ v0 [edge] ─ forwarded ─▶ a0 ═ slow veth pair ═ b0 [inner] ─ forwarded ─▶ v1 ──▶ wire v1

Every generation counts under a rule of its own at both hooks; a0 holds packets back for up to eight milliseconds, so
that dozens are on their way at any instant.  What a rule counted at the one hook it must have counted at the other.
"""
import json
import os
import socket
import struct
import sys
import threading
import time

import bpf
import node
from node import Node, check, equal, must, udp

BURST, EVERY, RATE = 100, 0.010, "14mbit"   # 100 frames of 142 bytes take 8 ms of every 10
PADDING = bytes(88)
SLOWEST = 20_000_000  # ns that a journey may take, with what the clock is behind
FLIPS = int(os.environ.get("FLIPS", 4))


def two_hooks(n):
    """Turns a node of two devices into the one drawn above."""
    def ip(*words):
        must("ip", "-n", n.name, *words)

    def mac(device):
        return json.loads(must("ip", "-n", n.name, "-j", "link", "show", device))[0]["address"]

    ip("link", "set", "lo", "up")
    ip("link", "add", "a0", "type", "veth", "peer", "name", "b0")
    for device in ("a0", "b0"):
        ip("link", "set", device, "up", "arp", "off")
    must("nsenter", "--net=/run/netns/" + n.name, "sysctl", "-qw", "net.ipv4.ip_forward=1", *(f"net.ipv4.conf.{d}.rp_filter=0" for d in ("all", "v0", "b0")))
    for device, after, table, far in (("v0", "a0", 100, mac("b0")), ("b0", "v1", 101, "02:00:00:00:00:02")):
        gateway = f"10.255.{table}.1"
        ip("neigh", "add", gateway, "dev", after, "lladdr", far, "nud", "permanent")
        ip("route", "add", "default", "via", gateway, "dev", after, "onlink", "table", str(table))
        ip("rule", "add", "iif", device, "lookup", str(table))
    must("tc", "-n", n.name, "qdisc", "add", "dev", "a0", "root", "tbf", "rate", RATE, "burst", "1600", "limit", "1mb")
    n.mac = bytes.fromhex(mac("v0").replace(":", ""))


def generation(n, number):
    policies = "".join(f"""  {policy}:
    attach: [{device}.ingress]
    default: drop
    rules:
      - {{ name: g{number}, proto: udp, to-port: 9, action: accept }}
""" for policy, device in (("edge", "wan"), ("inner", "back")))
    return n.write(f"g{number}", f"version: 1\ninterfaces:\n  wan: {{ match: v0 }}\n  back: {{ match: b0 }}\npolicies:\n{policies}")


def counted(n):
    """{rule: [packets at edge, packets at inner]}, of all rules that kept revisions name"""
    out = {}
    counters = n.counters()
    for name, slots in n.slots().items():
        policy, rule = name.split("/")
        if rule != "default":
            out.setdefault(rule, [0, 0])[policy == "inner"] += sum(node.total(counters, slot) for slot in slots)
    os.close(counters)
    return out


class Stream:
    """Bursts of packets that all differ, until it is left; then waits for the last one to arrive."""
    number = 0

    def __init__(self, n):
        self.out, self.seen = n.raw_socket("v0"), n.wire_socket("v1")
        self.seen.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        self.seen.setsockopt(socket.SOL_SOCKET, 33, 1 << 23)  # SO_RCVBUFFORCE
        self.seen.settimeout(0.3)
        self.head = n.mac + udp("10.1.0.1", bytes(12) + PADDING)[6:42]
        self.sent = self.arrived = self.slowest = self.behind = 0
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.send), threading.Thread(target=self.receive)]

    def send(self):
        begin = time.monotonic()
        while not self.stop.is_set():
            for _ in range(BURST):
                Stream.number += 1
                self.out.send(self.head + struct.pack("!IQ", Stream.number, time.time_ns()) + PADDING)
                self.sent += 1
                self.behind = max(self.behind, time.monotonic_ns() - bpf.coarse_now())
            begin = max(begin + EVERY, time.monotonic())
            time.sleep(max(0, begin - time.monotonic()))

    def receive(self):
        while True:
            try:
                frame, extra, _, _ = self.seen.recvmsg(2048, 64)
            except TimeoutError:
                if self.stop.is_set():
                    return
                continue
            seconds, rest = struct.unpack("qq", extra[0][2])
            self.arrived += 1
            self.slowest = max(self.slowest, seconds * 10**9 + rest - struct.unpack_from("!Q", frame, 46)[0])

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.out.close(), self.seen.close()


def case_one_generation():
    """On the switch, when taken back, at the deadline: what is on its way is judged by whom it met first."""
    flips = packets = held_up = number = 0
    with Node(2) as n:
        two_hooks(n)

        def under_stream(what, change, rules):
            """rules: those that must have judged packets of this stream, the first before and the last after."""
            nonlocal packets, held_up, flips
            before = counted(n)
            with Stream(n) as stream:
                change()
                time.sleep(0.08)
            after = counted(n)
            moved = {rule: [a - b for a, b in zip(after[rule], before.get(rule, (0, 0)))] for rule in after}
            late = f"slowest packet {stream.slowest / 1e6:.1f} ms, clock {stream.behind / 1e6:.1f} ms behind"
            if len({len(set(two)) for two in moved.values()} | {1}) > 1 and stream.slowest + stream.behind > SLOWEST:
                held_up += 1
                check("the machine carries a packet through in time", held_up < 12, late)
                return
            check(f"{what}: every packet sent was judged at both hooks", stream.sent == stream.arrived > 0, stream.sent, stream.arrived, late)
            for rule, (edge, inner) in moved.items():
                equal(f"{what}: packets that {rule} judged at the first and at the second hook ({late})", inner, edge)
            equal(f"{what}: packets judged in all", sum(edge for edge, _ in moved.values()), stream.sent)
            for rule in rules:
                check(f"{what}: {rule} judged some", moved[rule][0] > 0, moved)
            flips, packets = flips + 1, packets + stream.sent

        n.apply(generation(n, 0))
        while flips < 5 * FLIPS:
            old, new = f"g{number}", f"g{number + 1}"
            file = generation(n, number + 1)
            under_stream("apply --confirm", lambda: n.apply(file, "--confirm", "1h"), [new])
            under_stream("rollback", lambda: n.penstock("rollback"), [old])
            n.apply(file, "--confirm", "1h")

            def pass_deadline():
                deadline = bpf.coarse_now() + 60_000_000
                n.set_deadline(deadline)
                time.sleep(0.1)

            under_stream("deadline", pass_deadline, [old])
            n.penstock("confirm", code=3)
            n.apply(file, "--confirm", "1h")
            under_stream("confirm", lambda: n.penstock("confirm"), [new])
            number += 1
            file = generation(n, number + 1)
            under_stream("apply", lambda: n.apply(file), [f"g{number + 1}"])
            number += 1
        n.tidy([n.running()], ["v0", "b0"])
    again = f", {held_up} more tries on a busy machine" if held_up else ""
    return f"{flips} changes under {packets} packets{again}"


if __name__ == "__main__":
    sys.exit(node.cases(sys.modules["__main__"]))
