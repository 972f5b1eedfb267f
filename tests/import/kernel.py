"""A node in a network namespace of its own with two devices, judged by the real iptables and nft; and a peer that sends."""
import ctypes
import json
import os
import socket
import subprocess
import time

import packets

libc = ctypes.CDLL(None, use_errno=True)
DEVICES = ("eth0", "eth1")

# What arrived, and what got through all hooks, by the packet's number.
WITNESS = """
table inet witness {
  set arrived4 { typeof ip id; flags dynamic; size 65535; }
  set arrived6 { typeof ip6 flowlabel; flags dynamic; size 65535; }
  set passed4 { typeof ip id; flags dynamic; size 65535; }
  set passed6 { typeof ip6 flowlabel; flags dynamic; size 65535; }
  chain early { type filter hook prerouting priority -450; iifname "eth*" jump arrive; }
  chain arrive { add @arrived4 { ip id }; add @arrived6 { ip6 flowlabel }; }
  chain late { type filter hook input priority 450; iifname "eth*" jump through; }
  chain later { type filter hook forward priority 450; iifname "eth*" jump through; }
  chain through { jump pass; drop; }
  chain pass { add @passed4 { ip id }; add @passed6 { ip6 flowlabel }; }
}
"""


def run(*command, stdin=None):
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {' '.join(command)}: {done.stderr.strip()} {done.stdout[:2000]}\n{stdin or str()}")
    return done.stdout


class Node:
    def __enter__(self):
        self.name = f"penstock-import-{os.getpid()}"
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.spaces, self.sockets, self.macs = [], {}, {}
        try:
            for end in ("node", "peer"):
                run("ip", "netns", "add", f"{self.name}-{end}")
                self.spaces.append(f"{self.name}-{end}")
            node, peer = self.spaces
            for device in DEVICES:
                run("ip", "-n", node, "link", "add", device, "type", "veth", "peer", "name", device, "netns", peer)
                for space in (node, peer):
                    run("ip", "-n", space, "link", "set", device, "up")
            run("ip", "-n", node, "link", "set", "lo", "up")
            self.enter(peer)
            for device in DEVICES:
                raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
                raw.bind((device, 0))
                self.sockets[device] = raw
            self.enter(node)
            settings = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
            settings += [f"net.ipv4.conf.{d}.rp_filter=0" for d in ("all", "default") + DEVICES] + [f"net.ipv6.conf.{d}.accept_ra=0" for d in DEVICES]
            run("sysctl", "-qw", *settings)
            for address in packets.NODE4:
                run("ip", "address", "add", address + "/24", "dev", "eth0")
            for address in packets.NODE6:
                run("ip", "address", "add", address + "/64", "dev", "eth0", "nodad")
            # What is forwarded has a route; the witness drops it before it leaves.
            run("ip", "route", "add", "default", "dev", "eth1")
            run("ip", "-6", "route", "add", "default", "dev", "eth1")
            for device in DEVICES:
                self.macs[device] = json.loads(run("ip", "-j", "link", "show", device))[0]["address"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for raw in self.sockets.values():
            raw.close()
        if libc.setns(self.home, 0):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(self.home)
        for space in self.spaces:
            run("ip", "netns", "delete", space)

    @staticmethod
    def enter(space):
        fd = os.open(f"/run/netns/{space}", os.O_RDONLY)
        if libc.setns(fd, 0):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(fd)

    @staticmethod
    def clear():
        run("nft", "flush", "ruleset")

    @staticmethod
    def numbers(name):
        objects = json.loads(run("nft", "-j", "list", "set", "inet", "witness", name))["nftables"]
        listed = next(o["set"] for o in objects if "set" in o)
        return {e["elem"]["val"] if isinstance(e, dict) else e for e in listed.get("elem", [])}

    def judge(self, frames):
        """frames: [(device, version, bytes)].  The numbers (their places in the list) that arrived, and those that got through all chains."""
        run("nft", "-f", "-", stdin="table inet witness\ndelete table inet witness\n" + WITNESS)
        for device, _, frame in frames:
            self.sockets[device].send(frame)
        # The number 0 is left to what the two kernels have to say to each other.
        version = {number: v for number, (_, v, _) in enumerate(frames, 1)}

        def mine(kind):
            found = {4: self.numbers(kind + "4"), 6: self.numbers(kind + "6")}
            return {number - 1 for number, v in version.items() if number in found[v]}

        for _ in range(20):
            arrived = mine("arrived")
            if len(arrived) == len(frames):
                break
            time.sleep(0.05)
        return arrived, mine("passed")
