"""A reboot: all that the kernel knew is gone, and `penstock restore` brings back what was confirmed last."""
import json
import os
import shutil
import sys
import time

import node
from node import NOW, WAIT, Missing, Node, check, equal, must, run


def reboot(n, devices=None):
    """Takes away what a reboot does: pins, and with them programs and maps; the run directory; the devices themselves."""
    for path in (n.bpf, n.run_dir):
        shutil.rmtree(path, ignore_errors=True)
    for device in n.devices:
        run("ip", "-n", n.name, "link", "delete", device)
    for device in n.devices if devices is None else devices:
        n.add_device(device)
    equal("judged after the reboot", {j for j in n.judges().values()} - {frozenset()}, set())


def restore(n, *options, code=0, **more):
    return n.penstock("restore", *options, code=code, **more)


def status_of(n, revision):
    return open(f"{n.state}/revisions/{revision}/status").read()


def content(n, revision):
    """All that is kept of a revision but where its devices were."""
    out = {}
    for folder, _, names in os.walk(f"{n.state}/revisions/{revision}"):
        for name in names:
            text = open(os.path.join(folder, name)).read()
            if name == "meta.json":
                text = json.loads(text)
                text.pop("devices")
            out[name] = text
    return out


def case_last_confirmed():
    with Node(2) as n:
        restore(n)
        check("nothing was confirmed yet: nothing is made", not os.path.exists(n.bpf))
        file = n.kind(1)
        n.apply(file)
        n.apply(n.kind(2), *WAIT)
        n.penstock("confirm")
        n.apply(n.kind(3), *WAIT)
        n.penstock("rollback")
        # An edit that nobody applied.
        os.replace(n.kind(4), n.kind(2))
        before = content(n, 2)
        reboot(n)
        done = restore(n)
        check("names the revision", "revision 2 is restored" in done.stdout, done.stdout)
        equal("judged after restore", n.judges(), n.judged_by(2))
        n.tidy([2])
        equal("what is kept of the revision", content(n, 2), before)
        equal("plan of the file that runs", n.plan(n.kind(2))["actions"], [])
        check("a second restore does nothing", "nothing to restore: revision 2 runs" in restore(n).stdout)
        equal("attached after the second restore", n.judges(), n.judged_by(2))
        # Life goes on with new numbers.
        n.apply(n.kind(5))
        equal("an apply behind it", (n.running(), n.judges()), (4, n.judged_by(5)))
        n.penstock("rollback", *NOW)
        equal("a rollback behind it", n.judges(), n.judged_by(2))


def case_pending_is_given_up():
    with Node(2) as n:
        n.apply(n.kind(1))
        n.apply(n.kind(2), *WAIT)
        equal("the candidate judges", n.judges(), n.judged_by(2))
        equal("while it waits restore does nothing", (restore(n).returncode, n.judges()), (0, n.judged_by(2)))
        reboot(n)
        restore(n)
        equal("judged after restore", n.judges(), n.judged_by(1))
        equal("the candidate in the history", status_of(n, 2), "reverted")
        n.tidy([1])
    with Node(1) as n:
        n.apply(n.kind(1), *WAIT)
        reboot(n)
        check("the only revision was never confirmed", "nothing to restore" in restore(n).stdout)
        equal("judged", n.judges(), n.judged_by(None))


def break_syntax(n, revision):
    path = f"{n.state}/revisions/{revision}/node.yaml"
    text = open(path).read().replace("default: accept", "defualt: accept")
    open(path, "w").write(text)
    line = 1 + text[: text.index("defualt")].count("\n")
    return f"{n.kind(2)}:{line}:5: unknown key `defualt`"


def break_meta(n, revision):
    open(f"{n.state}/revisions/{revision}/meta.json", "w").write("{")
    return "is damaged"


def break_file(n, revision):
    os.unlink(f"{n.state}/revisions/{revision}/node.yaml")
    return "cannot be read"


def case_the_one_before():
    for broken in (break_syntax, break_meta, break_file):
        with Node(2) as n:
            n.apply(n.kind(1))
            n.apply(n.kind(2))
            words = broken(n, 2)
            reboot(n)
            done = restore(n, code=5)
            check(f"{broken.__name__}: says why", words in done.stderr, words, done.stderr)
            check("says that it is degraded", "revision 2 cannot be loaded, revision 1 runs" in done.stderr, done.stderr)
            equal("judged by the one before", n.judges(), n.judged_by(1))
            n.tidy([1])
            reboot(n)
            told = json.loads(restore(n, "--json", code=5).stdout)
            equal("for programs", (told["revision"], told["outcome"]), (1, "degraded"))
            check("with the reason", any(words in (f"{w['file']}:{w['line']}:{w['column']}: " if w["line"] else "") + w["message"] for w in told["warnings"]), told["warnings"])
            n.apply(n.kind(3))
            equal("mended", n.judges(), n.judged_by(3))
    with Node(1) as n:
        n.apply(n.kind(1))
        words = break_syntax(n, 1).replace("kind-2", "kind-1")
        reboot(n)
        done = restore(n, code=1)
        check("says why", words in done.stderr and "nothing of penstock runs" in done.stderr, words, done.stderr)
        check("nothing is left", not os.path.exists(n.bpf) or os.listdir(n.bpf) == [])
        n.apply(n.kind(2))
        equal("mended", n.judges(), n.judged_by(2))


def case_device_appears():
    with Node(2) as n:
        n.apply(n.kind(1))
        n.apply(n.kind(2))
        check("a device before anything is restored", "no interface" in restore(n, "--interface", "eth9").stdout)
        reboot(n, ["v0"])
        check("attach before restore does nothing", "no interface" in restore(n, "--interface", "v0").stdout)
        equal("judged", n.judges()["v0"], frozenset())
        restore(n)
        equal("judged while v1 is missing", n.judges(), {"v0": frozenset([2])})
        n.add_device("v1")
        equal("v1 has appeared", n.judges()["v1"], frozenset())
        restore(n, "--interface", "v1")
        equal("judged", n.judges(), n.judged_by(2))
        must("ip", "-n", n.name, "link", "add", "other", "type", "veth", "peer", "name", "other", "netns", n.wire)
        restore(n, "--interface", "other")
        equal("a device that no interface matches", n.attached()["other"], 0)
        must("ip", "-n", n.name, "link", "delete", "other")
        n.tidy([2])
        # While a change waits, a device that appears waits with it, and no longer.
        reboot(n, ["v0"])
        restore(n)
        n.apply(n.kind(3), *WAIT)
        n.add_device("v1")
        n.set_deadline(node.bpf.coarse_now() + 1_500_000_000)
        restore(n, "--interface", "v1")
        equal("judged after the deadline", n.judges(), n.judged_by(2))


def case_stranger_on_a_device():
    drop = os.path.join(node.BUILD, "bpf/drop.bpf.o")
    if not os.path.exists(drop):
        raise Missing(f"{drop} is not built (target bench_drop)")
    with Node(2) as n:
        n.apply(n.kind(2))
        reboot(n)
        must("ip", "-n", n.name, "link", "set", "dev", "v1", "xdp", "obj", drop, "sec", "xdp")
        foreign = n.attached()["v1"]
        done = restore(n, code=5)
        check("names it", f"program {foreign} `drop`" in done.stderr, done.stderr)
        equal("v0 is judged, v1 as it was", (n.judges()["v0"], n.attached()["v1"]), (frozenset([2]), foreign))
        must("ip", "-n", n.name, "link", "set", "dev", "v1", "xdp", "off")
        restore(n, "--interface", "v1")
        equal("judged when it is gone", n.judges(), n.judged_by(2))


def case_killed():
    count = 0
    with Node(2) as n:
        n.apply(n.kind(1))
        n.apply(n.kind(2))
        before = content(n, 2)
        reboot(n)
        restore(n)
        moments = n.moments()
        check("restore names its steps", len(moments) >= 5, moments)
        for moment in moments:
            reboot(n)
            restore(n, kill_at=moment)
            judged = n.judges()
            for device in n.devices:
                check(f"killed at `{moment}`: {device} is free or judged by 2", judged[device] in (frozenset(), frozenset([2])), judged)
            restore(n)
            equal(f"killed at `{moment}`: judged after the next one", n.judges(), n.judged_by(2))
            equal(f"killed at `{moment}`: the revision", content(n, 2), before)
            n.tidy([2])
            count += 1
    return f"{count} kills"


def case_kernel_command_line():
    with Node(1) as n:
        n.apply(n.kind(1))
        for words, disabled in (("quiet penstock.disable=1 ro", True), ("penstock.disable", True), ("penstock.disable=0", False), ("quiet nopenstock.disable=1", False)):
            reboot(n)
            line = n.files + "/cmdline"
            open(line, "w").write(words + "\n")
            done = run("unshare", "-m", "sh", "-c", 'mount --bind "$1" /proc/cmdline && shift && exec "$@"', "sh", line, *n.command("restore"), env=n.environment())
            equal(f"`{words}`: exit code", done.returncode, 0)
            equal(f"`{words}`: says so", "penstock.disable" in done.stdout, disabled)
            equal(f"`{words}`: judged", n.judges(), n.judged_by(None if disabled else 1))


BANNING = """version: 1
interfaces:
  wan: {{ match: v0 }}
sets:
  out: {{ prefixes: [] }}
policies:
  edge:
    attach: [wan.ingress]
    default: accept
    rules:
      - {{ name: out, from: out, action: drop }}
      - {{ name: {name}, proto: tcp, flags: syn, limit: {{ rate: 1000/s, ban: {{ time: 10m, factor: 2, max: 1h }} }}, action: drop }}
"""


def bans(n):
    lines = n.penstock("ban", "list", "--json").stdout.splitlines()
    return {b["address"]: (b["rule"], b["times"], b["remaining_ms"]) for b in map(json.loads, lines)}


def case_bans_and_elements():
    with Node(1) as n:
        n.apply(n.write("banning", BANNING.format(name="flood")))
        n.penstock("ban", "add", "10.1.0.1", "2001:db8:7::1", "--for", "1h")
        n.penstock("ban", "add", "10.1.0.2")
        n.penstock("ban", "add", "10.1.0.2")
        n.penstock("ban", "add", "10.1.0.3", "--for", "1s")
        n.penstock("ban", "add", "10.1.0.4")
        n.penstock("ban", "del", "10.1.0.4")
        n.penstock("set", "add", "out", "10.2.0.0/16", "--for", "1h")
        n.penstock("set", "add", "out", "10.3.0.0/16")
        n.penstock("set", "add", "out", "10.4.0.0/16", "--for", "1s")
        check("saves what it says", "bans saved" in n.penstock("save").stdout)
        before = bans(n)
        time.sleep(1.1)
        reboot(n)
        check("where nothing runs, what is saved stays", "0 bans saved" in n.penstock("save").stdout and os.path.getsize(n.state + "/bans") > 0)
        restore(n)
        after = bans(n)
        equal("who is banned", set(after), {"10.1.0.1", "10.1.0.2"} | {a for a in before if a.startswith("2001:db8:7:")})
        for address, (rule, times, remaining) in after.items():
            equal(f"{address}: rule and count", (rule, times), before[address][:2])
            check(f"{address}: what is left of its time", before[address][2] - 30_000 < remaining <= before[address][2] - 1000, remaining, before[address])
        n.penstock("ban", "add", "10.1.0.3")
        equal("how often one was banned is remembered", bans(n)["10.1.0.3"][1], 2)
        listed = n.penstock("set", "list", "out").stdout
        check("elements of the set", "10.2.0.0/16" in listed and "10.3.0.0/16" in listed and "10.4.0.0/16" not in listed, listed)
        # The rule is another one now: its bans are nobody's.
        n.apply(n.write("other", BANNING.format(name="other")))
        n.penstock("save")
        reboot(n)
        restore(n)
        equal("bans of a rule that is gone", bans(n), {})
        # What is damaged is named, and keeps nothing from being restored.
        open(n.state + "/bans", "w").write("penstock-bans 1\nedge/other 10.0.0.1 never 1\n")
        reboot(n)
        done = restore(n, code=5)
        check("names the line", f"{n.state}/bans:2" in done.stderr, done.stderr)
        check("the programs run", n.attached()["v0"])
        # By a first apply, too, where nobody restores.
        n.penstock("ban", "add", "10.1.0.9")
        reboot(n)
        n.apply(n.kind(1))
        n.penstock("off")
        n.apply(n.write("other", BANNING.format(name="other")))
        equal("banned after off and apply", set(bans(n)), {"10.1.0.9"})


if __name__ == "__main__":
    sys.exit(node.cases(sys.modules["__main__"]))
