"""What happens at one instant: the deadline, the flip of several hooks, the last two ticks."""
import os
import select
import struct
import subprocess
import sys
import time

import bpf
import node
from node import Node, PROBES, check, equal, udp


class HeldUp(Exception):
    """The stream stood still near the deadline: on a busy machine nothing can be said of that one."""


def watch_deadline(n, out, seen, spacing=0.001):
    """One packet for each generation every `spacing` seconds around the deadline of the change that waits.  Returns ns
    from the deadline: when the first packet let through by the old generation arrived, when the last one let through by
    the candidate had been sent; and how far behind the coarse clock was seen."""
    deadline = n.word()[0]
    first_old, last_new, sent_at, behind = None, None, [], 0
    time.sleep(max(0, (deadline - time.monotonic_ns()) / 1e9 - 0.1))
    while time.monotonic_ns() < deadline + 60_000_000:
        for k in (1, 2):  # generation 1 lets through what comes from 10.2, generation 2 what comes from 10.1
            sent_at.append(time.monotonic_ns())
            out.send(udp(f"10.{k}.0.1", struct.pack("!I", len(sent_at) - 1)))
        behind = max(behind, time.monotonic_ns() - bpf.coarse_now())
        time.sleep(spacing)
        while select.select([seen], [], [], 0)[0]:
            frame, now = seen.recv(2048), time.monotonic_ns()
            number = struct.unpack_from("!I", frame, 42)[0]
            if frame[27] == 2:
                first_old = min(first_old or now, now)
            elif number < len(sent_at):
                last_new = max(last_new or 0, sent_at[number])
    near = [t for t in sent_at if abs(t - deadline) < 30_000_000]
    if len(near) < 6 or max(b - a for a, b in zip(near, near[1:])) > 10_000_000 or near[0] > deadline - 20_000_000:
        raise HeldUp
    check("both generations judged", first_old and last_new)
    return first_old - deadline, last_new - deadline, behind


def case_deadline():
    """Nobody is alive: at its deadline a candidate gives way to the previous generation, within the clock's granularity."""
    late, held_up = [], 0
    with Node(1) as n:
        n.apply(n.kind(1))
        out, seen = n.raw_socket("v0"), n.own_socket("v0")
        while len(late) < 3:
            n.apply(n.kind(2), "--confirm", "2s")  # ended when this returns: no process of penstock is left
            try:
                first_old, last_new, behind = watch_deadline(n, out, seen)
            except HeldUp:
                held_up += 1
                check("the machine lets packets be sent every 10 ms", held_up < 12)
                n.penstock("confirm", code=3)
                continue
            check("the candidate judges until its deadline", first_old >= 0, f"{first_old / 1e6:.1f} ms")
            # Where processors were taken away meanwhile, the clock itself was late.
            tolerance = max(2 * bpf.coarse_tick(), 2 * behind) + 1_000_000
            check("nothing sent later is judged by the candidate", last_new <= tolerance, f"{last_new / 1e6:.1f} ms after the deadline, clock {behind / 1e6:.1f} ms behind")
            late.append(last_new / 1e6)
            equal("judged after the deadline", n.judges(), n.judged_by(1))
            n.penstock("confirm", code=3)
        n.tidy([n.running()])
    again = f", {held_up} more tries on a busy machine" if held_up else ""
    return f"the candidate's last packet was sent {', '.join(f'{x:+.1f}' for x in late)} ms from the deadline, a tick is {bpf.coarse_tick() / 1e6:.0f} ms{again}"


class Watch:
    """The programs of all hooks, run one after another, again and again: which generation judges each, in order."""

    def __init__(self, n, old, new):
        self.old, self.new = PROBES[old], PROBES[new]
        self.links = [bpf.obj_get(f"{n.bpf}/links/{name}") for name in sorted(os.listdir(n.bpf + "/links"))]
        self.programs = {}
        self.samples = []

    def look(self, i):
        """'o' or 'n'; None if the hook's program was being replaced at this moment."""
        number = bpf.link_program(self.links[i])
        try:
            if number not in self.programs:
                self.programs[number] = bpf.program_fd(number)
        except FileNotFoundError:  # replaced and gone
            return None
        program = self.programs[number]
        # Of one packet each generation says something else: 'new' drops it, 'old' does not.
        verdict = self.new.run(program)
        if bpf.link_program(self.links[i]) != number:
            return None
        return "n" if verdict == bpf.XDP_DROP else "o"

    def round(self):
        for i in range(len(self.links)):
            seen = self.look(i)
            if seen:
                self.samples.append(seen)

    def begin(self):
        """The looks before anything happens."""
        self.samples = []
        self.round()

    def until(self, done):
        rounds, after = 0, 0
        while after < 3:
            after += bool(done())
            self.round()
            rounds += 1
        return rounds

    def check(self, order, what):
        text = "".join(self.samples)
        changes = [a + b for a, b in zip(text, text[1:]) if a != b]
        equal(f"{what}: changes seen over all hooks", changes, [order])

    def close(self):
        for fd in [*self.links, *self.programs.values()]:
            os.close(fd)


def case_four_hooks_flip():
    """All hooks change in one instant: on the flip, when taken back, at the deadline, when confirmed."""
    rounds = 0
    with Node(4) as n:
        for _ in range(5):
            n.apply(n.kind(1))
            watch = Watch(n, 1, 2)

            def during(order, what, *arguments):
                nonlocal rounds
                watch.begin()
                process = subprocess.Popen(n.command(*arguments), env=n.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                rounds += watch.until(lambda: process.poll() is not None)
                equal(f"{what}: exit code", process.returncode, 0)
                watch.check(order, what)

            during("on", "apply --confirm", "apply", *node.WAIT, n.kind(2))
            during("no", "rollback", "rollback")
            during("on", "apply", "apply", *node.NOW, n.kind(2))
            n.apply(n.kind(1))
            n.apply(n.kind(2), "--confirm", "2s")
            watch.begin()
            deadline = n.word()[0]
            time.sleep(max(0, (deadline - bpf.coarse_now()) / 1e9 - 0.05))
            rounds += watch.until(lambda: bpf.coarse_now() > deadline + 20_000_000)
            watch.check("no", "deadline")
            watch.close()
            n.penstock("confirm", code=3)
    return f"{rounds} looks at 4 hooks in 20 flips"


def case_four_hooks_killed():
    """Killed between two hooks, on the way there and on the way back."""
    kills = 0
    with Node(4) as n:
        n.apply(n.kind(1))
        n.apply(n.kind(2))
        steps = n.moments()
        n.apply(n.kind(1))
        switch = steps.index("switched:1")
        for at, moment in enumerate(steps):
            if not moment.startswith("attached"):
                continue
            n.apply(n.kind(2), kill_at=moment)
            equal(f"killed at {moment}", n.judges(), n.judged_by(2 if at > switch else 1))
            kills += 1
            n.apply(n.kind(1))
        n.apply(n.kind(2), "--confirm", "1h")
        n.penstock("rollback")
        for moment in [m for m in n.moments() if m.startswith("attached")]:
            n.apply(n.kind(2), "--confirm", "1h")
            n.penstock("rollback", kill_at=moment)
            equal(f"rollback killed at {moment}", n.judges(), n.judged_by(1))
            kills += 1
    return f"{kills} kills"


def confirm_with(n, left):
    """Confirms with `left` ns before the deadline: the command stands still at its last step before it looks at the
    clock, since the file of steps is a pipe that nobody reads yet; then the deadline is moved and the pipe opened.
    Returns the exit code, what it said, and whether that was before the deadline."""
    pipe = n.files + "/pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen(n.command("confirm"), env=n.environment(PENSTOCK_STEPS=pipe), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(1000):
            time.sleep(0.01)
            if "partner" in open(f"/proc/{process.pid}/wchan").read():
                break
        else:
            raise node.Missing("/proc/PID/wchan does not tell where a process waits")
        deadline = bpf.coarse_now() + left
        n.set_deadline(deadline)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        words = process.stderr.read()
        in_time = bpf.coarse_now() < deadline
        # The steps that follow need a reader too: it stays open until the process has ended.
        process.wait(10)
        os.close(reader)
        return process.returncode, words, in_time
    finally:
        process.kill()
        process.wait()
        os.unlink(pipe)


def case_last_two_ticks():
    """confirm is refused within two ticks of the deadline, and right before them it is not."""
    tick, early = bpf.coarse_tick(), 0
    with Node(1) as n:
        n.apply(n.kind(1))
        for left, code in ((1, 3), (tick, 3), (-1, 3), *([(2 * tick, 3)] * 6)):
            n.apply(n.kind(2), "--confirm", "1h")
            code_now, words, in_time = confirm_with(n, left)
            equal(f"confirm with {left} ns left", code_now, code)
            early += in_time
            time.sleep(3 * tick / 1e9)
            equal("judged after the refusal", n.judges(), n.judged_by(1))
            check("it says that it is too late", "reached its deadline" in words, words)
            n.penstock("confirm", code=None)
            n.tidy([n.running()])
        n.apply(n.kind(2), "--confirm", "1h")
        check("some were refused before the deadline itself", early)
        equal("confirm with a second left", confirm_with(n, 1_000_000_000)[0], 0)
        equal("judged after it", n.judges(), n.judged_by(2))


if __name__ == "__main__":
    sys.exit(node.cases(sys.modules["__main__"]))
