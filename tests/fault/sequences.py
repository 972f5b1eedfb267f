"""Random sequences of apply, kill, confirm, rollback and passing deadlines under a stream of packets, against a model of
what must run.  Every packet is judged by exactly one generation: the counters add up to what was sent."""
import json
import os
import random
import sys
import threading
import time

import bpf
import node
from node import Node, check, equal, total, udp

SEQUENCES = int(os.environ.get("SEQUENCES", "200"))
RATE = 1000  # packets a second on each device
NAMES = ("alpha", "beta")


def file_of(n, number):
    """Generation `number`: accepts and counts everything that is sent, in the rule named NAMES[number % 2].  The other
    name matches nothing sent, and is there so that its counter is never given away."""
    counting, idle = NAMES[number % 2], NAMES[1 - number % 2]
    devices = "".join(f"  {d}: {{ match: {d} }}\n" for d in n.devices)
    return n.write(f"sequence-{number}", f"""version: 1
interfaces:
{devices}policies:
  edge:
    attach: [{", ".join(d + ".ingress" for d in n.devices)}]
    default: drop
    rules:
      - {{ name: {counting}, from: 10.0.0.0/8, action: accept }}
      - {{ name: {idle}, from: 192.0.2.99, action: accept }}
      - {{ name: other-{number}, from: 198.51.{number}.0/24, action: drop }}
""")


class Stream(threading.Thread):
    """Sends RATE packets a second to each device until stopped; what the kernel did not take is counted apart."""

    def __init__(self, n):
        super().__init__(daemon=True)
        self.sockets = [n.raw_socket(d) for d in n.devices]
        self.sent, self.refused, self.stop = 0, 0, threading.Event()

    def run(self):
        # Not the same on two devices: that would be one packet on its way, judged by the generation that saw it first.
        packets = [udp(f"10.1.0.{i + 1}") for i in range(len(self.sockets))]
        start, due = time.monotonic(), 0
        while not self.stop.is_set() and due < RATE * 600:
            due = min(due + 50, int((time.monotonic() - start) * RATE))
            while self.sent + self.refused < due * len(self.sockets):
                for s, packet in zip(self.sockets, packets):
                    try:
                        s.send(packet)
                        self.sent += 1
                    except OSError:
                        self.refused += 1
            time.sleep(0.002)
            start = max(start, time.monotonic() - (due + 50) / RATE)  # after a pause: no burst to catch up

    def end(self):
        self.stop.set()
        self.join()


class Model:
    """current: the file that is confirmed; waiting: the candidate, or None."""

    def __init__(self, n, rng):
        self.node, self.random = n, rng
        self.current, self.waiting, self.files = 0, None, list(range(6))
        self.revisions = {}
        self.kills = 0

    def judging(self):
        return self.current if self.waiting is None else self.waiting

    def operation(self):
        """One random command, killed at a random one of its steps or not; moves the model as the steps passed say."""
        n, choose = self.node, self.random
        other = choose.choice([f for f in self.files if f != self.current])
        what = choose.choices(("apply", "apply --confirm", "confirm", "rollback", "expire"), (4, 4, 3, 3, 2))[0]
        kill = choose.random() < 0.5
        commands = {"apply": ("apply", *node.NOW, file_of(n, other)), "apply --confirm": ("apply", *node.WAIT, file_of(n, other)),
                    "confirm": ("confirm",), "rollback": ("rollback",)}
        if what == "expire":
            if self.waiting is None:
                return "nothing to expire"
            if choose.random() < 0.2:  # really wait for it, after a rollback of what waits
                n.penstock("rollback")
                n.apply(file_of(n, other), "--confirm", "1s")
                self.waiting = other
                deadline = n.word()[0]
                check("a second is a second", 0 < deadline - bpf.coarse_now() <= 1_000_000_000)
                time.sleep(max(0, (deadline - bpf.coarse_now()) / 1e9) + 0.01)
            else:
                n.expire()
            self.waiting = None
            return what
        if what == "rollback" and self.waiting is None:
            return "nothing to roll back"
        moments = MOMENTS[what]
        kill_at = choose.choice(moments) if kill else ""
        done = n.penstock(*commands[what], code=None, PENSTOCK_KILL_AT=kill_at)
        killed = done.returncode == -9
        self.kills += killed
        steps = n.steps()
        if not killed:
            refused = what.startswith("apply") and self.waiting is not None or what == "confirm" and self.waiting is None
            check(f"{what}: exit code {done.returncode}", (done.returncode != 0) if refused else (done.returncode == 0), done.stdout, done.stderr, steps)
        if what == "apply" and "switched" in steps:
            self.current = other
        elif what == "apply --confirm" and "switched" in steps:
            self.waiting = other
        elif what == "confirm" and "confirmed" in steps:
            self.current, self.waiting = self.waiting, None
        elif what == "rollback" and "taken-back" in steps:
            self.waiting = None
        return f"{what}{f' killed at {kill_at}' if killed else ''}"


MOMENTS = {}


def learn_moments(n):
    """What steps there are to be killed at, with and without something to tidy up before."""
    n.apply(file_of(n, 1))
    MOMENTS["apply"] = n.moments()
    n.apply(file_of(n, 2), "--confirm", "1h")
    MOMENTS["apply --confirm"] = n.moments()
    n.penstock("rollback")
    MOMENTS["rollback"] = n.moments()
    n.apply(file_of(n, 2), "--confirm", "1h")
    n.penstock("confirm")
    MOMENTS["confirm"] = n.moments()


def case_sequences():
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    rng = random.Random(seed)
    log = []
    try:
        with Node(2) as n:
            n.apply(file_of(n, 0))
            learn_moments(n)
            n.apply(file_of(n, 0))
            counters = n.counters()
            slots = n.slots()
            equal("each name has one counter", [len(slots[f"edge/{name}"]) for name in NAMES], [1, 1])
            slot = {name: slots[f"edge/{name}"].copy().pop() for name in NAMES}
            model, stream = Model(n, rng), Stream(n)
            read = lambda: {name: total(counters, slot[name]) for name in NAMES}
            start = read()
            stream.start()
            operations = 0
            for sequence in range(SEQUENCES):
                log.clear()
                for _ in range(rng.randint(1, 3)):
                    log.append(model.operation())
                    operations += 1
                    # The generation that the model names judges, and it alone.
                    judging, before, sent = NAMES[model.judging() % 2], read(), stream.sent
                    time.sleep(0.004)
                    after = read()
                    until = time.monotonic() + 1  # what was sent may still lie in the device's ring
                    while after == before and stream.sent != sent and time.monotonic() < until:
                        time.sleep(0.004)
                        after = read()
                    other = NAMES[1 - NAMES.index(judging)]
                    # A packet sent in the moment of the last switch may have been counted a moment ago, never now.
                    check(f"only {judging} judges", after[other] == before[other], before, after)
                    check(f"{judging} judges", after[judging] > before[judging] or stream.sent == sent, before, after)
                if rng.random() < 0.3:  # tidy up: the model's file is what runs, or what waits
                    n.penstock("confirm", code=None)
                    if model.waiting is not None:
                        model.current, model.waiting = model.waiting, None
                    plan = n.plan(file_of(n, model.current))
                    check(f"file {model.current} runs", plan["empty"], plan)
                    equal("the counters stay in their map", bpf.map_shape(n.counters())[0], bpf.map_shape(counters)[0])
                    n.tidy([n.running()])
                    log.append("tidied")
            stream.end()
            time.sleep(0.2)
            counted = {name: total(counters, slot[name]) - start[name] for name in NAMES}
            lost = sum(ring_losses(n))
            equal("sum of the counters and of what the device's ring refused", sum(counted.values()) + lost, stream.sent)
            check("both generations judged", all(counted.values()), counted)
            defaults = sum(total(counters, s) for s in n.slots()["edge/default"])
            equal("packets that no rule judged", defaults, 0)
            return f"{SEQUENCES} sequences, {operations} operations, {model.kills} kills, {stream.sent} packets (seed {seed})"
    except node.Failed as error:
        raise node.Failed(f"seed {seed}, after {log}: {error}") from error


def ring_losses(n):
    """Packets that a device's ring had no room for, before any program saw them."""
    links = json.loads(node.must("ip", "-n", n.wire, "-s", "-j", "link", "show"))
    return [l["stats64"]["tx"]["dropped"] for l in links if l["ifname"] in n.devices]


if __name__ == "__main__":
    sys.exit(node.cases(sys.modules["__main__"]))
