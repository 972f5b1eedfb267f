"""Counters belong to rules: they survive apply, rollback, rules that move, and a map that grows; and nobody inherits."""
import os
import shutil
import sys

import bpf
import node
from node import Node, check, equal, udp

PACKET = {k: node.PROBES[k] for k in node.PROBES}


def policy(n, name, rules, default="accept"):
    lines = "".join(f"      - {{ name: {rule}, from: {source}, action: drop }}\n" for rule, source in rules)
    return n.write(name, f"""version: 1
interfaces:
  v0: {{ match: v0 }}
policies:
  edge:
    attach: [v0.ingress]
    default: {default}
    rules:
{lines}""")


def send(n, kind, count):
    """Runs packets from 10.KIND.0.1 through whatever is attached."""
    program = bpf.program_fd(n.attached()["v0"])
    for _ in range(count):
        PACKET[kind].run(program)
    os.close(program)


def counts(n):
    return {c["rule"]: c["packets"] for c in n.status()["counters"] if c["rule"]}


def case_identity():
    with Node(1) as n:
        one, two, three = ("one", "10.1.0.0/16"), ("two", "10.2.0.0/16"), ("three", "10.3.0.0/16")
        n.apply(policy(n, "a", [one, two]))
        send(n, 1, 7), send(n, 2, 5)
        equal("counted", counts(n), {"one": 7, "two": 5})
        n.apply(policy(n, "b", [three, two, one]))
        equal("after rules moved and one came before them", counts(n), {"three": 0, "two": 5, "one": 7})
        send(n, 3, 2)
        n.apply(policy(n, "c", [three]), "--confirm", "1h")
        send(n, 3, 1)
        equal("while a change waits", counts(n), {"three": 3})
        n.penstock("rollback")
        equal("after it is taken back", counts(n), {"three": 3, "two": 5, "one": 7})
        n.apply(policy(n, "c", [three]))
        send(n, 1, 4)  # nobody's any more
        n.penstock("rollback", "1", *node.NOW)
        equal("after rollback to the first", counts(n), {"one": 7, "two": 5})
        n.penstock("rollback", "99999999999999999999999", *node.NOW, code=None)
        equal("after a senseless rollback", counts(n), {"one": 7, "two": 5})


def case_nobody_inherits():
    """A counter's slot is used again only when no kept revision names it, and then it begins at zero."""
    with Node(1) as n:
        n.apply(policy(n, "a", [("first", "10.1.0.0/16")]))
        send(n, 1, 9)
        for i in range(22):  # more than are kept
            n.apply(policy(n, "b", [(f"rule-{i % 2}", f"10.2.{i}.0/24")]))
        check("the first revision is forgotten", "edge/first" not in n.slots(), n.slots())
        n.apply(policy(n, "c", [("late", "10.1.0.0/16"), ("rule-0", "10.2.0.0/16")]))
        equal("a new rule begins at zero", counts(n)["late"], 0)
        # The revision that says what the slots mean is lost: no number is better than somebody else's.
        send(n, 1, 3)
        shutil.rmtree(n.state)
        n.apply(policy(n, "d", [("other", "10.1.0.0/16")]))
        equal("without revisions", counts(n), {"other": 0})


def large(n, name, rules):
    return policy(n, name, [("one", "10.1.0.0/16"), *((f"r{i}", f"172.16.{i // 256}.{i % 256}") for i in range(rules)), ("two", "10.2.0.0/16")])


def case_grow():
    """More than 4,096 slots: another map, the totals come along, also where the change is cut off or taken back."""
    with Node(1) as n:
        small = policy(n, "small", [("one", "10.1.0.0/16"), ("two", "10.2.0.0/16")])
        big = large(n, "big", 4200)
        both = lambda: {rule: count for rule, count in counts(n).items() if rule in ("one", "two")}

        n.apply(small)
        send(n, 1, 7), send(n, 2, 5)
        n.apply(big, "--confirm", "1h")
        send(n, 1, 2)
        equal("while the larger map waits", both(), {"one": 9, "two": 5})
        n.penstock("rollback")
        equal("after it is taken back", both(), {"one": 9, "two": 5})
        n.apply(big, "--confirm", "1h")
        send(n, 2, 1)
        n.penstock("rollback", kill_at="reverted-status:1")
        n.penstock("confirm", code=None)
        equal("taken back, killed, tidied up", both(), {"one": 9, "two": 6})
        n.apply(big, kill_at="switched")
        send(n, 1, 1)
        n.penstock("confirm", code=1, kill_at="state-written")
        n.penstock("confirm", code=1)
        equal("grown, killed twice", both(), {"one": 10, "two": 6})
        send(n, 2, 1)
        n.apply(small)
        equal("small again", both(), {"one": 10, "two": 7})
        n.tidy([n.running()])


if __name__ == "__main__":
    sys.exit(node.cases(sys.modules["__main__"]))
