"""Rules change, programs stand: edits load nothing, what is judged is what the file says, and counters stay with their rule."""
import json
import os
import sys

import bpf
import node
from node import Node, check, equal

ONE = ("one", "10.1.0.0/16")
TWO = ("two", "10.2.0.0/16")
THREE = ("three", "10.3.0.0/16")
FOUR = ("four", "10.4.0.0/16")


def policy(n, rules, last=""):
    """`rules` before six that match no probe; `last` is written behind all."""
    interfaces = "".join(f"  {d}: {{ match: {d} }}\n" for d in n.devices)
    attach = ", ".join(d + ".ingress" for d in n.devices)
    listed = "".join(f"      - {{ name: {name}, from: {source}, action: drop }}\n" for name, source in rules)
    padding = "".join(f"      - {{ name: pad-{i}, from: 172.16.{i}.0/24, proto: udp, to-port: {i + 1}, action: drop }}\n" for i in range(6))
    return n.write("standing", f"version: 1\ninterfaces:\n{interfaces}policies:\n  edge:\n    attach: [{attach}]\n    default: accept\n    rules:\n{listed}{padding}{last}")


def programs(n):
    """Ids of all programs that are pinned for the node: those that run and those that stand by."""
    out = set()
    for folder in os.listdir(n.bpf):
        if not (folder.startswith("gen-") or folder == "spare"):
            continue
        for pin in os.listdir(f"{n.bpf}/{folder}"):
            if pin.startswith(("hook-", "judge-")):
                fd = bpf.obj_get(f"{n.bpf}/{folder}/{pin}")
                out.add(bpf.program_id(fd))
                os.close(fd)
    return out


def send(n, kind, count=1):
    program = bpf.program_fd(n.attached()["v0"])
    for _ in range(count):
        node.PROBES[kind].run(program)
    os.close(program)


def counts(n):
    return {c["rule"]: c["packets"] for c in n.status()["counters"] if c["rule"] and not c["rule"].startswith("pad")}


def dropped(n, *kinds):
    equal("dropped", n.judges(), {d: frozenset(kinds) for d in n.devices})


def stand(devices, *options):
    """Edits of all sorts, by `apply` with `options`; the programs are those of the first two."""
    with Node(devices) as n:
        def edit(rules, **more):
            n.apply(policy(n, rules, **more), *options)
            if options:
                n.penstock("confirm")

        edit([ONE, TWO])
        edit([TWO])
        standing = programs(n)
        equal("programs of what runs and of the spare, each with those that judge", len(standing), 4 * devices)
        for rules in ([ONE, TWO], [TWO, ONE], [THREE, TWO, ONE], [THREE, ONE], [ONE, FOUR], [ONE], [TWO]):
            edit(rules)
            equal(f"programs after an edit to {[name for name, _ in rules]}", programs(n), standing)
            dropped(n, *(int(source.split(".")[1]) for _, source in rules))
        plan = json.loads(n.penstock("plan", "--json", policy(n, [ONE, TWO])).stdout)
        equal("the plan says so", [a["kind"] for a in plan["actions"] if a["kind"] in ("program", "replace")], ["replace"] * devices)
        # Another kind of match is another program, and from then on it stands.
        ttl = "      - { name: ttl, from: 10.5.0.0/16, ttl: 0-255, action: drop }\n"
        edit([ONE, TWO], last=ttl)
        check("another program was loaded", not programs(n) & standing, programs(n), standing)
        dropped(n, 1, 2, 5)
        edit([ONE], last=ttl)
        standing = programs(n)
        edit([TWO], last=ttl)
        equal("programs after an edit that has the new kind of match, too", programs(n), standing)
        dropped(n, 2, 5)
        n.penstock("rollback", *node.NOW)
        equal("programs after a rollback", programs(n), standing)
        dropped(n, 1, 5)


def case_one_device():
    stand(1)


def case_two_devices():
    stand(2)


def case_confirmed():
    stand(1, "--confirm", "1h")


def case_taken_back():
    """A candidate that comes to nothing is the spare again, and the next edit has all of its own."""
    with Node(1) as n:
        for rules in ([ONE], [TWO], [ONE]):
            n.apply(policy(n, rules))
        standing = programs(n)
        n.apply(policy(n, [TWO, THREE]), "--confirm", "1h")
        dropped(n, 2, 3)
        n.penstock("rollback")
        dropped(n, 1)
        equal("programs after the candidate was taken back", programs(n), standing)
        n.apply(policy(n, [FOUR]))
        dropped(n, 4)
        equal("programs after the next edit", programs(n), standing)
        wrong = policy(n, [ONE], last="tests:\n  - { packet: \"udp 10.1.0.1:4000 > 192.0.2.1:9\", on: v0, expect: pass }\n")
        n.penstock("apply", "--confirm", "never", wrong, code=1)
        dropped(n, 4)
        n.apply(policy(n, [ONE]))
        dropped(n, 1)


def case_counters():
    with Node(1) as n:
        n.apply(policy(n, [ONE, TWO]))
        send(n, 1, 7), send(n, 2, 5)
        for rules in ([THREE, ONE, TWO], [TWO, THREE, ONE], [TWO, FOUR, ONE, THREE], [ONE, TWO, FOUR]):
            n.apply(policy(n, rules))
            got = counts(n)
            equal("one", got["one"], 7)
            equal("two", got["two"], 5)
        equal("rules that came counted nothing", counts(n)["four"], 0)
        send(n, 4, 3)
        n.apply(policy(n, [FOUR, TWO, ONE]))
        equal("after the move", counts(n), {"one": 7, "two": 5, "four": 3})


def case_grows():
    """A list that outgrows the room of its tables is loaded anew, and stands from then on."""
    with Node(1) as n:
        def many(count, first):
            return [first] + [(f"m{i}", f"11.{i // 256}.{i % 256}.0/24") for i in range(count)]
        n.apply(policy(n, many(20, ONE)))
        n.apply(policy(n, many(20, TWO)))
        before = programs(n)
        n.apply(policy(n, many(2000, ONE)))
        dropped(n, 1)
        check("it was loaded", programs(n) != before)
        n.apply(policy(n, many(2000, TWO)))
        standing = programs(n)
        for first, kind in ((THREE, 3), (ONE, 1)):
            n.apply(policy(n, many(2010, first)))
            dropped(n, kind)
            equal("programs", programs(n), standing)


if __name__ == "__main__":
    sys.exit(node.cases(sys.modules["__main__"]))
