"""Things that are in the way, go away, or are broken by hand; and two penstocks at once."""
import contextlib
import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
import time

import bpf
import node
from node import Missing, Node, check, equal, must, run

DROP = os.path.join(node.BUILD, "bpf/drop.bpf.o")  # a stranger's program


def stranger_needed():
    if not os.path.exists(DROP):
        raise Missing(f"{DROP} is not built (target bench_drop)")


def case_foreign_xdp():
    stranger_needed()
    with Node(2) as n:
        must("ip", "-n", n.name, "link", "set", "dev", "v1", "xdp", "obj", DROP, "sec", "xdp")
        foreign = n.attached()["v1"]
        check("the stranger is attached", foreign)
        for file in (n.kind(1), n.kind(1, mode="native")):
            done = n.apply(file, code=1)
            check("names the stranger by id, name and pin", f"program {foreign} `drop`, not pinned" in done.stderr, done.stderr)
            equal("attached after the refusal", n.attached(), {"v0": 0, "v1": foreign})
            check("no device was touched", not any(s.startswith("attached") for s in n.steps()), n.steps())
        pin = f"/sys/fs/bpf/{n.name}-stranger"
        fd = bpf.program_fd(foreign)
        try:
            bpf.obj_pin(fd, pin)
            check("names the pin", f"pinned at {pin}" in n.apply(n.kind(1), code=1).stderr)
        finally:
            os.close(fd)
            os.unlink(pin)
        n.penstock("confirm", code=1)
        n.tidy([])
        # With a generation that runs on the other device: it goes on.
        n.apply(n.kind(2, ["v0"]))
        n.apply(n.kind(1), code=1)
        equal("v0 after the refusal", n.judges()["v0"], frozenset([2]))
        equal("v1 after the refusal", n.attached()["v1"], foreign)
        n.penstock("confirm", code=1)
        n.tidy([n.running()], ["v0"])
        n.penstock("off")
        equal("the stranger after `off`", n.attached(), {"v0": 0, "v1": foreign})


def case_foreign_tc():
    stranger_needed()
    with Node(1) as n:
        must("tc", "-n", n.name, "qdisc", "add", "dev", "v0", "clsact")
        done = run("tc", "-n", n.name, "filter", "add", "dev", "v0", "ingress", "matchall", "action", "pass")
        if done.returncode != 0:
            done = run("tc", "-n", n.name, "filter", "add", "dev", "v0", "ingress", "u32", "match", "u32", "0", "0", "action", "pass")
        if done.returncode != 0:
            done = run("tc", "-n", n.name, "filter", "add", "dev", "v0", "ingress", "bpf", "da", "bytecode", "1,6 0 0 4294967295")
        if done.returncode != 0:
            raise Missing(f"no tc filter can be added: {done.stderr.strip()}")
        before = must("tc", "-n", n.name, "filter", "show", "dev", "v0", "ingress")
        n.apply(n.kind(1))
        n.apply(n.kind(2))
        equal("tc filters with penstock", must("tc", "-n", n.name, "filter", "show", "dev", "v0", "ingress"), before)
        n.penstock("off")
        equal("tc filters after `off`", must("tc", "-n", n.name, "filter", "show", "dev", "v0", "ingress"), before)


def case_foreign_tcx():
    """tcx programs of others: plan and doctor name them in their order, nobody touches them."""
    with Node(1) as n, contextlib.ExitStack() as open_here:
        index = int(json.loads(must("ip", "-n", n.name, "-j", "link", "show", "v0"))[0]["ifindex"])
        programs = {}
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            bpf.enter_network(n.name)
            for name, egress in (("first_in", False), ("second_in", False), ("out", True)):
                program = bpf.load_classifier(name, -1)
                open_here.callback(os.close, program)
                try:
                    open_here.callback(os.close, bpf.attach_tcx(program, index, egress))
                except OSError as error:
                    raise Missing(f"this kernel attaches no tcx program: {error}")
                programs[name] = bpf.program_id(program)
        finally:
            bpf.libc.setns(here, 0x40000000)
            os.close(here)
        order = f"tcx ingress: {programs['first_in']} `first_in`, then tcx ingress: {programs['second_in']} `second_in`, then tcx egress: {programs['out']} `out`"

        def shown(what):
            checks = {c["check"]: c for c in json.loads(n.penstock("doctor", "v0", "--json", code=None).stdout)["checks"]}
            check(f"doctor names them in their order, {what}", order in checks["v0 tc"]["finding"], order, checks["v0 tc"])
            equal(f"which is no fault, {what}", checks["v0 tc"]["health"], "ok")
            notes = n.plan(n.kind(2))["notes"]
            check(f"plan names them in their order, {what}", any(order in note for note in notes), order, notes)

        shown("before")
        n.apply(n.kind(1))
        shown("with penstock")
        n.penstock("off")
        shown("after `off`")


def case_devices_come_and_go():
    with Node(2) as n:
        n.apply(n.kind(1))
        must("ip", "-n", n.name, "link", "del", "v1")
        states = {i["device"]: i["state"] for i in n.status()["interfaces"]}
        equal("status reports by its name that the device is gone", states.get("v1"), "device is gone")
        n.add_device("v1")
        states = {i["device"]: i["state"] for i in n.status()["interfaces"]}
        check("status reports the new one", "not attached" in states.get("v1", ""), states)
        n.penstock("confirm", code=1)
        equal("judged after the next command", n.judges(), n.judged_by(1))
        must("ip", "-n", n.name, "link", "set", "v1", "down")
        must("ip", "-n", n.name, "link", "set", "v1", "name", "w1")
        states = {i["device"]: i["state"] for i in n.status()["interfaces"]}
        check("status reports the name that no interface matches", "no interface of the file matches" in states["w1"], states)
        n.penstock("confirm", code=1)
        equal("detached from the other name", n.attached()["w1"], 0)
        must("ip", "-n", n.name, "link", "set", "w1", "name", "v1")
        n.penstock("confirm", code=1)
        equal("judged under the old name", n.judges(), n.judged_by(1))
        # Deleted while a change waits; and a stranger came to the device that was made again.
        stranger_needed()
        n.apply(n.kind(2), "--confirm", "1h")
        must("ip", "-n", n.name, "link", "del", "v1")
        n.add_device("v1")
        must("ip", "-n", n.name, "link", "set", "dev", "v1", "xdp", "obj", DROP, "sec", "xdp")
        n.expire()
        done = n.penstock("confirm", code=3)
        check("the stranger is named", "`drop`" in done.stderr, done.stderr)
        equal("v0 is back", n.judges()["v0"], frozenset([1]))
        n.tidy([n.running()], ["v0"])
        must("ip", "-n", n.name, "link", "set", "dev", "v1", "xdp", "off")
        n.penstock("confirm", code=1)
        equal("judged after the stranger left", n.judges(), n.judged_by(1))


def case_off_names_what_is_gone():
    with Node(2) as n:
        n.apply(n.kind(1))
        must("ip", "-n", n.name, "link", "del", "v1")
        said = n.penstock("off").stdout
        check("`off` names the device that is gone", "detached from v1\n" in said and "detached from v0\n" in said, said)


def case_namespace_deleted():
    with Node(1) as n:
        n.apply(n.kind(1))
        n.apply(n.kind(2), "--confirm", "1h")
        must("ip", "netns", "delete", n.name)
        must("ip", "netns", "delete", n.wire)
        for name in (n.name, n.wire):
            must("ip", "netns", "add", name)
        n.add_device("v0")
        for _ in range(100):  # the kernel takes a namespace apart in its own time
            if n.apply(n.kind(3), code=None).returncode == 0:
                break
            time.sleep(0.05)
        equal("judged in the new namespace", n.judges(), n.judged_by(3))
        n.tidy([n.running()])


def off_works(n, what):
    n.penstock("off")
    equal(f"attached after `off`, {what}", n.attached(), {d: 0 for d in n.devices})
    check(f"nothing in bpffs after `off`, {what}", not os.path.exists(n.bpf))
    parent = os.path.dirname(n.bpf)  # of all instances: others may be at work now
    check(f"no empty directory after `off`, {what}", not os.path.isdir(parent) or os.listdir(parent))


def case_removed_by_hand():
    """What may be removed: the revisions, each pin.  The programs judge on, and apply makes it whole; `off` always works."""
    pins = ["state", "gen/hook-0", "gen/counters", "gen/policy_rules", "gen", "links/*", "links"]
    with Node(2) as n:
        for lost in ["revisions", "meta.json", *pins]:
            n.apply(n.kind(1))
            gen = f"{n.bpf}/gen-{n.running()}"
            attached = lost not in ("links/*", "links")
            if lost == "revisions":
                shutil.rmtree(n.state)
            elif lost == "meta.json":
                open(f"{n.state}/revisions/{n.running()}/meta.json", "w").write("{ broken")
            elif lost == "links/*":
                for link in os.listdir(n.bpf + "/links"):
                    os.unlink(f"{n.bpf}/links/{link}")
            else:
                path = lost.replace("gen", gen) if lost.startswith("gen") else f"{n.bpf}/{lost}"
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            if attached:
                equal(f"judged without {lost}", n.judges(), n.judged_by(1))
            n.penstock("status", code=None)
            n.penstock("history", code=0)
            n.penstock("confirm", code=1)
            if attached:
                equal(f"judged without {lost}, after a command", n.judges(), n.judged_by(1))
            n.apply(n.kind(2))
            equal(f"judged after apply without {lost}", n.judges(), n.judged_by(2))
            n.tidy([n.running()])
            off_works(n, f"without {lost}")
        for lost in ("txn", "txn/word", "txn/programs", "state", "links", "revisions"):
            n.apply(n.kind(1))
            n.apply(n.kind(2), "--confirm", "1h")
            path = n.state if lost == "revisions" else f"{n.bpf}/{lost}"
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            n.penstock("confirm", code=None)
            off_works(n, f"waiting, without {lost}")


def case_off_always():
    """`off` with a broken file, a read-only state directory, a held lock, a stopped apply."""
    with Node(2) as n:
        file = n.kind(1)
        n.apply(file)
        open(file, "w").write("version: 1\n  broken: [")
        n.apply(file, code=None)
        equal("judged after a broken file", n.judges(), n.judged_by(1))
        off_works(n, "broken file")
        n.apply(n.kind(2))
        with open(n.run_dir + "/lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            off_works(n, "held lock")
        shutil.rmtree(n.run_dir)
        off_works(n, "nothing there")


def case_two_at_once():
    with Node(1) as n:
        n.apply(n.kind(1))
        pipe = n.files + "/pipe"
        os.mkfifo(pipe)
        # The first stands still at its first step: its file of steps is a pipe that nobody reads.
        first = subprocess.Popen(n.command("apply", *node.NOW, n.kind(2)), env=n.environment(PENSTOCK_STEPS=pipe), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            second = subprocess.Popen(n.command("apply", *node.NOW, n.kind(3)), env=n.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            line = second.stderr.readline()
            check("the second says who holds the lock", f"process {first.pid}" in line and "apply" in line, line)
            equal("judged meanwhile", n.judges(), n.judged_by(1))
            with open(pipe) as reader:
                while first.poll() is None:
                    reader.read()
                    time.sleep(0.001)
            equal("the first ends well", first.returncode, 0)
            _, words = second.communicate(timeout=30)
            equal("the second ends well", second.returncode, 0)
            equal("judged in the end", n.judges(), n.judged_by(3))
        finally:
            first.kill()
            first.wait()
        # Held for longer than the second has patience.
        with open(n.run_dir + "/lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = n.apply(n.kind(1), code=1)
            check("says that it gave up", "is being changed by" in done.stderr, done.stderr)
        equal("judged after giving up", n.judges(), n.judged_by(3))
        # A lock whose file was removed by hand keeps nobody out, and nobody holds two.
        shutil.rmtree(n.run_dir)
        n.apply(n.kind(1))


def case_refused_by_the_kernel():
    """Exit code 1, the kernel's own words, and the old generation judges on: where the user may not load programs, and
    where the verifier refuses one."""
    with Node(1) as n:
        n.apply(n.kind(1))
        before = set(os.listdir(n.bpf))
        # Without the capability to load programs, the kernel answers as it does to any unprivileged user.
        done = run(*n.command("apply", *node.NOW, n.kind(2))[:2], "setpriv", "--bounding-set=-bpf,-sys_admin", "--inh-caps=-bpf,-sys_admin",
                   *n.command("apply", *node.NOW, n.kind(2))[2:], env=n.environment())
        equal("exit code without capabilities", done.returncode, 1)
        check("the kernel's own words", "Operation not permitted" in done.stderr, done.stderr)
        equal("judged after it", n.judges(), n.judged_by(1))
        equal("pins after it", set(os.listdir(n.bpf)), before)
        # The verifier, asked to judge as on a machine without unaligned loads, refuses the program itself.
        done = n.apply(n.kind(2), code=1, PENSTOCK_STRICT_ALIGNMENT="xdp")
        check("which program", "the kernel refuses the program xdp" in done.stderr, done.stderr)
        check("the verifier's last words", "misaligned packet access" in done.stderr and "processed" in done.stderr.splitlines()[-1], done.stderr)
        check("nothing was pinned", "pinned" not in n.steps(), n.steps())
        equal("judged after it", n.judges(), n.judged_by(1))
        equal("pins after it", set(os.listdir(n.bpf)), before)
        n.apply(n.kind(2), code=1, PENSTOCK_STRICT_ALIGNMENT="xdp", PENSTOCK_KILL_AT="pinned")
        n.apply(n.kind(2))
        equal("judged when it is not refused", n.judges(), n.judged_by(2))
        n.tidy([n.running()])


def case_state_cannot_be_written():
    """A full or read-only state directory: nothing changes before the switch, nothing is left half."""
    with Node(1) as n:
        n.apply(n.kind(1))
        # A small file system in the place of the revisions: full, then read-only.
        saved = n.files + "/saved"
        shutil.copytree(n.state, saved)
        if run("mount", "-t", "tmpfs", "-o", "size=64k", "none", n.state).returncode != 0:
            raise Missing("no tmpfs can be mounted")
        try:
            shutil.copytree(saved, n.state, dirs_exist_ok=True)
            try:
                with open(n.state + "/ballast", "wb", buffering=0) as file:
                    while file.write(b"x" * 4096):
                        pass
            except OSError:
                pass
            done = n.apply(n.kind(2), code=1)
            check("says that there is no space", "No space left" in done.stderr, done.stderr)
            equal("judged with a full disk", n.judges(), n.judged_by(1))
            n.tidy([n.running()])
            must("mount", "-o", "remount,ro", n.state)
            done = n.apply(n.kind(2), code=1)
            check("says that it is read-only", "Read-only file system" in done.stderr, done.stderr)
            equal("judged with a read-only disk", n.judges(), n.judged_by(1))
            n.tidy([n.running()])
            must("mount", "-o", "remount,rw", n.state)
            os.unlink(n.state + "/ballast")
            # It fills up while a change waits: confirm and rollback need no space.
            for decide, kind in (("confirm", 3), ("rollback", 3)):
                n.apply(n.kind(3 if decide == "confirm" else 4), "--confirm", "1h")
                must("mount", "-o", "remount,ro", n.state)
                n.penstock(decide)
                equal(f"judged after {decide} on a read-only disk", n.judges(), n.judged_by(kind))
                must("mount", "-o", "remount,rw", n.state)
                n.penstock("confirm", code=1)
                n.tidy([n.running()])
            must("mount", "-o", "remount,ro", n.state)
            off_works(n, "read-only state")
        finally:
            run("umount", n.state)


def generated(rng):
    """A file with random interfaces, sets, policies and rules."""
    devices = [d for d in ("v0", "v1", "v2") if rng.random() < 0.7] or ["v0"]
    text = "version: 1\ninterfaces:\n"
    for d in devices:
        text += f"  {d}: {{ match: {rng.choice([d, d + '*', '[' + d[0] + ']' + d[1]])!r}, xdp: {rng.choice(['auto', 'native'])} }}\n"
    prefix = lambda: rng.choice([f"{rng.randrange(1, 223)}.{rng.randrange(256)}.0.0/16", f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}", f'"2001:db8:{rng.randrange(65536):x}::/48"'])
    sets = [f"s{i}" for i in range(rng.randrange(4))]
    if sets:
        text += "sets:\n" + "".join(f"  {s}: {{ prefixes: [{', '.join(sorted({prefix() for _ in range(rng.randrange(1, 30))}))}] }}\n" for s in sets)
    text += "policies:\n"
    for p in range(rng.randrange(1, 4)):
        attach = [d for d in devices if rng.random() < 0.7] or devices[:1]
        text += f"  p{p}:\n    attach: [{', '.join(d + '.ingress' for d in attach)}]\n    mode: {rng.choice(['enforce', 'audit'])}\n    default: accept\n"
        rules = []
        for r in range(rng.randrange(1, 12)):
            parts = [f"name: r{r}"]
            if rng.random() < 0.6:
                parts.append(f"from: {rng.choice(sets + ['any', prefix()])}")
            if rng.random() < 0.3:
                parts.append(f"to: {prefix()}")
            if rng.random() < 0.4:
                parts.append(f"proto: {rng.choice(['tcp', 'udp'])}, to-port: {rng.choice(['80', '[80, 443]', str(rng.randrange(1, 65536))])}")
            rules.append(f"      - {{ {', '.join(parts)}, action: {rng.choice(['accept', 'drop'])} }}\n")
        text += "    rules:\n" + "".join(rules)
    return text


def case_plan_after_apply():
    """plan(apply(x)) is empty for every x; a comment is recorded and no more."""
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    rng = random.Random(seed)
    count = int(os.environ.get("GENERATED", "36"))
    with Node(3) as n:
        for i in range(count):
            text = generated(rng)
            file = n.write("generated", text)
            try:
                n.apply(file)
                plan = n.plan(file)
                check("plan after apply is empty", plan["empty"] and not plan["actions"], plan["actions"])
                generation = n.running()
                n.write("generated", "# a comment moves every line\n" + text)
                plan = n.plan(file)
                equal("actions for a comment", [a["kind"] for a in plan["actions"]], ["record"])
                n.apply(file)
                equal("generation after a comment", n.running(), generation)
                check("plan after the comment is empty", n.plan(file)["empty"])
            except node.Failed as error:
                raise node.Failed(f"seed {seed}, file {i}: {error}\n{text}") from error
        n.tidy([n.running()])
    return f"{count} files (seed {seed})"


if __name__ == "__main__":
    sys.exit(node.cases(sys.modules["__main__"]))
