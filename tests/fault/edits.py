"""Random edits of a rule set under a stream: each packet is judged by the rules before or after an edit, by nothing else."""
import ipaddress
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

import node
from node import Node, check, equal, udp

RULES, BURST = 150, 24
END = "10.250.0.1"  # no rule speaks of it


class Rule:
    next_name = 0

    def __init__(self, chance):
        Rule.next_name += 1
        self.name = f"r{Rule.next_name}"
        self.net = ipaddress.ip_network((0x0A000000 | chance.randrange(0, 4) << 16 | chance.randrange(0, 4) << 8 | chance.randrange(256), 32)).supernet(
            new_prefix=chance.choices([16, 24, 28, 30, 32], [1, 4, 30, 30, 30])[0])
        first = chance.choice([0, 9, 9, 9, 5])
        self.ports = None if first == 0 else (first, first + chance.choice([0, 0, 4]))
        self.drop = chance.random() < 0.5

    def text(self):
        ports = f", proto: udp, to-port: {self.ports[0]}-{self.ports[1]}" if self.ports else ""
        return f"      - {{ name: {self.name}, from: {self.net}{ports}, action: {'drop' if self.drop else 'accept'} }}\n"

    def matches(self, source, port):
        return source in self.net and (not self.ports or self.ports[0] <= port <= self.ports[1])


def drops(rules, source, port=9):
    for rule in rules:
        if rule.matches(source, port):
            return rule.drop
    return False


def edited(rules, chance):
    """The rules after one to three random edits, and the rules that were touched."""
    rules, touched = list(rules), []
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(rules))
        kind = chance.choice(["insert", "delete", "move", "change"])
        touched.append(rules[at])
        if kind == "insert":
            rules.insert(at, Rule(chance))
            touched.append(rules[at])
        elif kind == "delete":
            del rules[at]
        elif kind == "move":
            rules.insert(chance.randrange(len(rules)), rules.pop(at))
        else:
            other = Rule(chance)
            other.name, other.net, other.ports, other.drop = rules[at].name, rules[at].net, rules[at].ports, not rules[at].drop
            rules[at] = other
    return rules, touched


class Stream:
    """Numbered packets, and which of them the node let through."""

    def __init__(self, n, chance):
        self.out, self.seen = n.raw_socket("v0"), n.own_socket("v0")
        self.seen.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: none may be lost here
        self.chance, self.sources, self.passed = chance, [], set()

    def send(self, source):
        self.sources.append(source)
        self.out.send(udp(str(source), struct.pack("!I", len(self.sources) - 1)))

    def burst(self, rules):
        for _ in range(BURST):
            net = self.chance.choice(rules).net
            self.send(net[self.chance.randrange(net.num_addresses)])
        self.drain()

    def drain(self, wait=0.0):
        while select.select([self.seen], [], [], wait)[0]:
            self.passed.add(struct.unpack_from("!I", self.seen.recv(2048), 42)[0])

    def settle(self):
        """Everything sent before has been judged."""
        self.send(ipaddress.ip_address(END))
        until = time.monotonic() + 10
        while len(self.sources) - 1 not in self.passed:
            check("packets arrive", time.monotonic() < until)
            self.drain(0.01)


def case_random_edits():
    edits, seed = int(os.environ.get("EDITS", "20")), int(os.environ.get("SEED", random.randrange(1 << 32)))
    chance = random.Random(seed)
    rules = [Rule(chance) for _ in range(RULES)]

    def file(n, rules):
        return n.write("edit", "version: 1\ninterfaces:\n  v0: { match: v0 }\npolicies:\n  edge:\n    attach: [v0.ingress]\n    default: accept\n    rules:\n"
                       + "".join(rule.text() for rule in rules))

    judged = differing = during = 0
    with Node(1) as n:
        n.apply(file(n, rules))
        structure = n.status()["policies"][0]["structure"]
        check("the rules are a classifier", structure.startswith("classifier"), structure)
        stream = Stream(n, chance)
        attached = []  # programs, after each edit
        for edit in range(edits):
            what = f"seed {seed}, edit {edit}"
            after, touched = edited(rules, chance)
            stream.settle()
            begin = len(stream.sources)
            command = n.command("apply", "--confirm", "never", *node.ACCEPT, file(n, after))
            process = subprocess.Popen(command, env=n.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None:
                stream.burst(touched)
                stream.burst(rules)
                time.sleep(0.001)
            equal(f"{what}: exit code", process.returncode, 0)
            end = len(stream.sources)
            stream.burst(touched)
            stream.burst(after)
            stream.settle()
            for number in range(begin, len(stream.sources)):
                source, dropped = stream.sources[number], number not in stream.passed
                allowed = {drops(after, source)} | ({drops(rules, source)} if number < end else set())
                check(f"{what}: packet from {source} {'during' if number < end else 'after'} the edit is judged by the rules before or after it",
                      dropped in allowed, f"dropped: {dropped}, allowed: {allowed}")
                judged += 1
                during += number < end
                differing += drops(after, source) != drops(rules, source)
            rules = after
            attached.append(n.attached()["v0"])
    check("programs take turns: edits load nothing", len(set(attached[2:])) <= 2, attached)
    check("edits change what happens to packets", differing > 5 * edits, differing)
    return f"{edits} edits of {RULES} rules, {judged} packets, {during} of them during an edit, {differing} judged otherwise before and after"


if __name__ == "__main__":
    sys.exit(node.cases(sys.modules["__main__"]))
