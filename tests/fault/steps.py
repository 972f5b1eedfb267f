"""SIGKILL at every step of every operation: the old or the new generation judges, never a mixture or nothing, the next
command recovers, and nothing is left over."""
import os
import sys

import node
from node import Node, check, equal

SWITCH = "switched"


class Operation:
    """prepare() brings the node to where `start` judges (`before` unless said); arguments is the command that gets killed.
    switch: the step from which on `after` judges and not `before`; None: any step."""

    def __init__(self, name, n, prepare, arguments, before, after, switch=SWITCH, code=0, loose=False, start=None):
        self.name, self.prepare, self.arguments, self.switch, self.code, self.loose = name, prepare, arguments, switch, code, loose
        self.before, self.after, self.start = before, after, start or before


class Changed:
    """A node that `start` brings to its first file, with another file on its way."""

    def __init__(self, n, start, file):
        self.n, self.start, self.file = n, start, file

    def waiting(self):
        self.start()
        self.n.apply(self.file, "--confirm", "1h")

    def expired(self):
        self.waiting()
        self.n.expire()

    def cut(self, at):
        def prepare():
            self.start()
            self.n.apply(self.file, kill_at=at)
        return prepare


def operations(n):
    g1, g2, narrow = n.kind(1), n.kind(2), n.kind(3, ["v0"])

    def off():
        n.penstock("off")

    def first():
        if n.word():
            off()
        n.apply(g1)

    def both():
        if n.word():
            off()
        n.apply(g2)
        n.apply(g1)

    def one_device():
        first()
        n.apply(narrow)

    def off_waiting():
        n.penstock("off")
        n.apply(g2, "--confirm", "1h")

    to = Changed(n, first, g2)
    none, j1, j2, j3 = n.judged_by(0), n.judged_by(1), n.judged_by(2), n.judged_by(3, ["v0"])
    return [
        Operation("first apply", n, off, ("apply", *node.NOW, g1), none, j1),
        Operation("second apply", n, first, ("apply", *node.NOW, g2), j1, j2),
        Operation("apply to fewer devices", n, first, ("apply", *node.NOW, narrow), j1, j3),
        Operation("apply to more devices", n, one_device, ("apply", *node.NOW, g1), j3, j1),
        Operation("apply --confirm", n, first, ("apply", *node.WAIT, g2), j1, j2),
        Operation("first apply --confirm", n, off, ("apply", *node.WAIT, g2), none, j2),
        Operation("confirm", n, to.waiting, ("confirm",), j2, j2, None),
        Operation("rollback of what waits", n, to.waiting, ("rollback",), j1, j1, None, start=j2),
        Operation("rollback of a first apply", n, off_waiting, ("rollback",), none, none, None, start=j2),
        Operation("rollback", n, both, ("rollback", *node.NOW), j1, j2),
        Operation("revert after the deadline", n, to.expired, ("confirm",), j1, j1, None, code=3),
        Operation("apply after the deadline", n, to.expired, ("apply", *node.NOW, n.kind(4)), j1, n.judged_by(4)),
        Operation("recovery before the switch", n, to.cut("gated"), ("confirm",), j1, j1, None, code=1),
        Operation("recovery with half the gates", n, to.cut("attached v0:2"), ("confirm",), j1, j1, None, code=1),
        Operation("recovery after the switch", n, to.cut("switched"), ("confirm",), j2, j2, None, code=1),
        Operation("off", n, first, ("off",), j1, none, None, loose=True),
        Operation("off while waiting", n, to.waiting, ("off",), j2, none, None, loose=True),
    ]


def edits(n):
    """A change of rules where the spare takes its turn: on one device its link is the switch."""
    g1, g2 = n.kind(1), n.kind(2)

    def ready():
        if n.word():
            n.penstock("off")
        for g in (g1, g2, g1):
            n.apply(g)
        check("a spare is kept", os.path.isdir(n.bpf + "/spare"), os.listdir(n.bpf))

    def fresh():
        n.penstock("off")
        n.apply(g1)

    to = Changed(n, ready, g2)
    j1, j2 = n.judged_by(1), n.judged_by(2)
    return [
        Operation("first edit", n, fresh, ("apply", *node.NOW, g2), j1, j2),
        Operation("edit", n, ready, ("apply", *node.NOW, g2), j1, j2),
        Operation("rollback of an edit", n, ready, ("rollback", *node.NOW), j1, j2),
        Operation("edit --confirm", n, ready, ("apply", *node.WAIT, g2), j1, j2),
        Operation("confirm of an edit", n, to.waiting, ("confirm",), j2, j2, None),
        Operation("rollback of an edit that waits", n, to.waiting, ("rollback",), j1, j1, None, start=j2),
        Operation("edit after the deadline", n, to.expired, ("confirm",), j1, j1, None, code=3),
        Operation("recovery before the link is switched", n, to.cut("word-pinned"), ("confirm",), j1, j1, None, code=1),
        Operation("recovery after the link is switched", n, to.cut("switched"), ("confirm",), j2, j2, None, code=1),
    ]


def try_kill(n, operation, moment):
    operation.prepare()
    n.penstock(*operation.arguments, kill_at=moment)
    judged = n.judges()
    if operation.loose:  # `off` goes device by device
        for device in n.devices:
            check(f"{device} is judged by the running generation or free", judged[device] in (operation.before[device], operation.after[device]), judged)
        n.penstock("off")
        equal("judged after `off` again", n.judges(), operation.after)
        check("nothing in bpffs after `off` again", not os.path.exists(n.bpf))
        return
    expected = operation.after if operation.switch is None or operation.switch in n.steps() else operation.before
    equal("judged after the kill", judged, expected)
    n.penstock("confirm", code=None)  # the next command recovers; whatever it answers, it changes nothing else
    equal("judged after recovery", n.judges(), expected)
    generation = n.running() if os.path.exists(n.bpf) else 0
    devices = [d for d in n.devices if expected[d]]
    n.tidy([generation] if generation else [], devices)
    for d in n.devices:
        check(f"{d} has a program only if one is due", (n.attached()[d] != 0) == bool(expected[d]))
    kinds = {k for judged in expected.values() for k in judged}
    if kinds:
        file = n.kind(kinds.pop(), devices)
        plan = n.plan(file)
        check(f"plan of the file that runs is empty", plan["empty"], plan)
    check("plan of another file is not empty", not n.plan(n.kind(5))["empty"])


def kill_everywhere(first, last, devices=2, padding=0, listed=operations):
    count = 0
    with Node(devices, padding) as n:
        for operation in listed(n)[first:last]:
            operation.prepare()
            equal(f"{operation.name}: judged before", n.judges(), operation.start)
            n.penstock(*operation.arguments, code=operation.code)
            moments = n.moments()
            check(f"{operation.name} names its steps", moments)
            for moment in moments:
                try:
                    try_kill(n, operation, moment)
                except node.Failed as error:
                    raise node.Failed(f"{operation.name}, killed at `{moment}`: {error}") from error
                count += 1
    return f"{count} kills"


def case_killed_apply():
    return kill_everywhere(0, 6)


def case_killed_decision():
    return kill_everywhere(6, 11)


def case_killed_recovery():
    return kill_everywhere(11, 15)


def case_killed_edit():
    return kill_everywhere(0, None, devices=1, padding=6, listed=edits)


def case_killed_edit_of_two_devices():
    return kill_everywhere(0, 4, padding=6, listed=edits)


def case_killed_off():
    return kill_everywhere(15, None)


if __name__ == "__main__":
    sys.exit(node.cases(sys.modules["__main__"]))
