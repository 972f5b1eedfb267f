#!/usr/bin/python3
"""Packets to the services of services.yaml, and what must leave, built by scapy: one JSON object a line.

`mask` says which bits of `out` must be so; the others tell flows apart (outer source port, flow label, source of a prefix):
all that is asked of them is that a flow, named by `flow`, always has the same.  Cases are run in order: fragments need that.
"""
import json

from scapy.all import (GRE, ICMP, IP, IPv6, TCP, UDP, Dot1AD, Dot1Q, Ether, ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest,
                       ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPOption_NOP, IPOption_RR, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                       IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN, Raw, raw)

ETHER = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
NEXT = "02:00:00:00:00:fe"  # what replay knows of a next hop that nobody named
CLIENT4, CLIENT6 = "192.0.2.7", "2001:db8:9::7"
OWN4, OWN6 = "192.0.0.8", "100::8"  # this node's, as replay has it

# name: how, the outer packet's source and destination, bits of the source that vary, GUE's port
WAYS = {
    "none4": ("none", None, "10.0.1.10", 0, 0),
    "none6": ("none", None, "2001:db8:b::10", 0, 0),
    "ipip4": ("ipip", "192.0.2.9", "10.0.1.11", 0, 0),
    "ipip6": ("ipip", OWN6, "2001:db8:b::12", 0, 0),
    "gue4": ("gue", OWN4, "10.0.1.13", 0, 6080),
    "gue6": ("gue", "2001:db8:a::9", "2001:db8:b::14", 0, 7000),
    "spread4": ("ipip", "10.9.0.0", "10.0.1.15", 12, 0),
    "spread6": ("gue", "2001:db8:9:8000::", "2001:db8:b::16", 64, 6080),
    "narrow4": ("ipip", "192.0.2.9", "10.0.1.20", 0, 0),
    "narrow6": ("gue", OWN6, "2001:db8:b::21", 0, 6080),
    "ranges": ("none", None, "10.0.1.30", 0, 0),
    "whole": ("ipip", OWN4, "10.0.1.31", 0, 0),
    "guarded": ("ipip", "192.0.2.9", "10.0.1.32", 0, 0),
    "inside": ("none", None, "10.0.1.33", 0, 0),
    "outside": ("none", None, "10.0.1.33", 0, 0),
    "clamped": ("ipip", "192.0.2.9", "10.0.1.36", 0, 0),
}
NUMBER = {"none4": 10, "none6": 10, "ipip4": 11, "ipip6": 12, "gue4": 13, "gue6": 14, "spread4": 15, "spread6": 16}


def frontend(service, family):
    return f"198.51.100.{NUMBER[service]}" if family == 4 else f"2001:db8:f::{NUMBER[service]}"


def link_of(tags, ethernet):
    if not ethernet:
        return None
    link = ETHER.copy()
    for i in range(tags):
        link = link / (Dot1AD(vlan=100, prio=5) if tags == 2 and i == 0 else Dot1Q(vlan=7 + i, prio=i))
    return link


def relink(link, source, destination, ip):
    """`ip`, an IP packet in bytes, behind the same tags from `source` to `destination`."""
    if link is None:
        return ip
    front = link.copy()
    front.src, front.dst = source, destination
    return raw(front / (IP(ip) if ip[0] >> 4 == 4 else IPv6(ip))) if len(ip) < 8 else link_bytes(front, ip)


def link_bytes(front, ip):
    kind = 0x0800 if ip[0] >> 4 == 4 else 0x86dd
    last = front.lastlayer()
    last.type = kind
    return raw(front) + ip


def wrapped(service, inner):
    """The packet for the backend, from its IP header on, and its mask."""
    how, source, destination, bits, port = WAYS[service]
    if how == "none":
        return inner, b"\xff" * len(inner)
    v4 = inner[0] >> 4 == 4
    tos = inner[1] if v4 else (inner[0] << 4 | inner[1] >> 4) & 0xff
    payload = Raw(inner)
    if how == "gue":
        payload = UDP(sport=0xc000, dport=port, chksum=0) / payload
    proto = 17 if how == "gue" else 4 if v4 else 41
    if ":" in destination:
        out = raw(IPv6(src=source, dst=destination, tc=tos, fl=0, hlim=64, nh=proto) / payload)
        mask = bytearray(b"\xff" * len(out))
        mask[1] &= 0xf0
        mask[2] = mask[3] = 0
        size, at = 40, 8
        width = 128
    else:
        out = raw(IP(src=source, dst=destination, tos=tos, id=0, flags="DF", ttl=64, proto=proto) / payload)
        mask = bytearray(b"\xff" * len(out))
        size, at = 20, 12
        width = 32
        if bits:
            mask[10] = mask[11] = 0  # the checksum follows the source; it must be right
    fixed = ((1 << width) - 1) ^ ((1 << bits) - 1)
    mask[at:at + width // 8] = fixed.to_bytes(width // 8, "big")
    if how == "gue":
        mask[size] &= 0xc0
        mask[size + 1] = 0
    return out, bytes(mask)


def emit(name, frame, verdict, reason="", service="", backend="", out=None, mask=None, on="wan", ethernet=True, flow="", linear=0, header=-1):
    print(json.dumps({"name": name, "on": on, "ethernet": ethernet, "linear": linear, "hex": frame.hex(), "verdict": verdict, "reason": reason,
                      "service": service, "backend": backend, "out": (out or b"").hex(), "mask": (mask or b"").hex(), "flow": flow, "header": header}))


def balanced(name, service, ip, tags=0, ethernet=True, padding=0, flow="", linear=0, on="wan", becomes=None):
    """`ip` goes to the backend of the service, as it is or as what it becomes."""
    inner = raw(ip)
    link = link_of(tags, ethernet)
    frame = (link_bytes(link.copy(), inner) if link is not None else inner) + bytes(padding)
    packet, mask = wrapped(service, raw(becomes) if becomes is not None else inner)
    out = relink(link, ETHER.dst, NEXT, packet)
    front = len(out) - len(packet)
    header = front if WAYS[service][0] != "none" and packet[0] >> 4 == 4 else -1
    emit(f"{service}: {name}", frame, "redirect", "balanced", service, "b", out, b"\xff" * front + mask, on, ethernet, flow and f"{service} {flow}", linear, header)


def answered(name, service, reason, ip, answer, tags=0, ethernet=True, padding=0, on="wan"):
    link = link_of(tags, ethernet)
    frame = (link_bytes(link.copy(), raw(ip)) if link is not None else raw(ip)) + bytes(padding)
    out = relink(link, ETHER.dst, ETHER.src, raw(answer))
    emit(f"{service}: {name}", frame, "tx", reason, service, "", out, b"\xff" * len(out), on, ethernet)


def other(name, ip, verdict="pass", reason="", service="", backend="", tags=0, on="wan", ethernet=True, padding=0):
    """Passed or dropped as it is; without a reason no service has anything to do with it."""
    link = link_of(tags, ethernet)
    frame = (link_bytes(link.copy(), raw(ip)) if link is not None else raw(ip)) + bytes(padding)
    emit(name, frame, verdict, reason, service, backend, on=on, ethernet=ethernet)


serial = 0
def head(family, service, protocol=None, **more):
    client = more.pop("client", CLIENT4 if family == 4 else CLIENT6)
    return (IP if family == 4 else IPv6)(src=client, dst=frontend(service, family), **more)


def kinds(family, service):
    """(name, packet, flow) of what can come to the service."""
    global serial
    serial += 1
    port = 20000 + serial
    base = head(family, service)
    yield "SYN", base / TCP(sport=port, dport=443, flags="S", options=[("MSS", 1460)]), "tcp"
    yield "data", base / TCP(sport=port, dport=443, flags="PA", seq=7, ack=9) / Raw(b"hello, world"), "tcp"
    yield "FIN", base / TCP(sport=port, dport=443, flags="FA"), "tcp"
    yield "RST of nothing known", base / TCP(sport=port + 9000, dport=443, flags="R"), ""
    yield "UDP", base / UDP(sport=port, dport=53) / Raw(b"query"), "udp"
    yield "UDP of odd length", base / UDP(sport=port, dport=53) / Raw(b"quer"), "udp"
    yield "UDP, nothing in it", base / UDP(sport=port, dport=53), "udp"
    yield "UDP without checksum", base / UDP(sport=port, dport=53, chksum=0) / Raw(b"x"), "udp"
    backwards = (IP if family == 4 else IPv6)(src=base.dst, dst=base.src)
    quote = raw(backwards / TCP(sport=443, dport=port, flags="A") / Raw(b"q" * 60))
    ip = 20 if family == 4 else 40
    router = dict(client="203.0.113.99" if family == 4 else "2001:db8:99::1")
    if family == 4:
        yield "error, fragmentation needed", head(4, service, **router) / ICMP(type=3, code=4, nexthopmtu=1400) / Raw(quote), ""
        yield "error, eight bytes quoted", head(4, service, **router) / ICMP(type=3, code=1) / Raw(quote[:ip + 8]), ""
        yield "error, time exceeded", head(4, service, **router) / ICMP(type=11) / Raw(raw(backwards / UDP(sport=53, dport=port) / Raw(b"answer"))), ""
        yield "options", IP(src=CLIENT4, dst=base.dst, options=[IPOption_NOP()] * 4) / TCP(sport=port, dport=443, flags="A"), "tcp"
        yield "forty bytes of options", IP(src=CLIENT4, dst=base.dst, options=[IPOption_RR(length=39, pointer=4, routers=["0.0.0.0"] * 9), IPOption_NOP()]) / UDP(sport=port, dport=53) / Raw(b"r"), "udp"
        for tos in (0xb8, 1, 2, 3, 0xff):
            yield f"TOS {tos:#x}", head(4, service, tos=tos) / UDP(sport=port, dport=53) / Raw(b"t"), "udp"
        yield "TTL 1", head(4, service, ttl=1) / TCP(sport=port, dport=443, flags="A"), "tcp"
        fragments = [dict(flags="MF", frag=0), dict(flags="MF", frag=3), dict(frag=5)]
        datagram = raw(UDP(sport=port, dport=53, len=48, chksum=0) / Raw(b"f" * 40))
        for i, where in enumerate(fragments):
            part = datagram[(0, 24, 40)[i]:(24, 40, 48)[i]]
            yield f"fragment {i}", IP(src=CLIENT4, dst=base.dst, id=port, proto=17, **where) / Raw(part), "fragment"
    else:
        yield "error, too big", head(6, service, **router) / ICMPv6PacketTooBig(mtu=1400) / Raw(quote), ""
        yield "error, eight bytes quoted", head(6, service, **router) / ICMPv6DestUnreach() / Raw(quote[:ip + 8]), ""
        yield "error, time exceeded", head(6, service, **router) / ICMPv6TimeExceeded() / Raw(raw(backwards / UDP(sport=53, dport=port) / Raw(b"answer"))), ""
        yield "destination options", base / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]) / TCP(sport=port, dport=443, flags="A"), "tcp"
        yield "three extension headers", base / IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 12)]) / IPv6ExtHdrRouting(segleft=0, addresses=["2001:db8::1"]) / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]) / UDP(sport=port, dport=53) / Raw(b"x"), "udp"
        for tc in (0xb8, 1, 2, 3, 0xff):
            yield f"class {tc:#x}", head(6, service, tc=tc, fl=0x12345) / UDP(sport=port, dport=53) / Raw(b"t"), "udp"
        datagram = raw(UDP(sport=port, dport=53, len=48, chksum=0x1234) / Raw(b"f" * 40))
        for i, more in enumerate((1, 1, 0)):
            part = datagram[(0, 24, 40)[i]:(24, 40, 48)[i]]
            yield f"fragment {i}", base / IPv6ExtHdrFragment(id=port, nh=17, offset=(0, 3, 5)[i], m=more) / Raw(part), "fragment"
        # What stands behind the fragment header of the first is another extension header, which the others do not have.
        option = raw(IPv6ExtHdrDestOpt(nh=17, options=[PadN(optdata=b"\0" * 4)]))
        yield "fragment with options", base / IPv6ExtHdrFragment(id=port + 1, nh=60, m=1) / Raw(option + datagram[:16]), "fragment"
        yield "fragment behind options", base / IPv6ExtHdrFragment(id=port + 1, nh=17, offset=3) / Raw(datagram[16:]), "fragment"


for service in NUMBER:
    for family in (4, 6):
        if service == "none4" and family == 6 or service == "none6" and family == 4:
            continue
        for tags in (0, 1, 2):
            for name, packet, flow in kinds(family, service):
                balanced(f"IPv{family}, {name}, {tags} tags", service, packet, tags=tags, flow=flow and f"{serial} {flow}")
        for name, packet, flow in kinds(family, service):
            balanced(f"IPv{family}, {name}, without Ethernet", service, packet, ethernet=False)
        for name, packet, flow in kinds(family, service):
            if name in ("SYN", "data", "UDP, nothing in it", "error, eight bytes quoted"):
                balanced(f"IPv{family}, {name}, padded", service, packet, padding=18)
                balanced(f"IPv{family}, {name}, padded behind a tag", service, packet, padding=1, tags=1)
        big = head(family, service) / UDP(sport=999, dport=53) / Raw(bytes(i & 255 for i in range(8000)))
        for linear in (128, 256, 1500, 3000):
            balanced(f"IPv{family}, jumbo, {linear} bytes in the first piece", service, big, linear=linear)
        balanced(f"IPv{family}, jumbo behind two tags", service, big, linear=200, tags=2)
        balanced(f"IPv{family}, jumbo, padded", service, big, linear=300, padding=20)
        for client in range(40):
            source = f"192.0.2.{client}" if family == 4 else f"2001:db8:9::{client:x}"
            for again in range(2):
                packet = head(family, service, client=source) / TCP(sport=1024 + 77 * client, dport=443, flags="A")
                balanced(f"IPv{family}, client {client}", service, packet, flow=f"spread {family} {client}")

# A datagram larger than what gets through: the sender is told.  Of the answer, 576 (IPv4) or 1280 bytes at most.
def too_big(name, service, ip, room, node=None, **more):
    family = ip.version
    quote = raw(ip)[:(576 if family == 4 else 1280) - (28 if family == 4 else 48)]
    own = node or ip.dst
    if family == 4:
        answer = IP(src=own, dst=ip.src, tos=0xc0, id=0, flags="DF", ttl=64) / ICMP(type=3, code=4, nexthopmtu=room) / Raw(quote)
    else:
        answer = IPv6(src=own, dst=ip.src, hlim=64) / ICMPv6PacketTooBig(mtu=room) / Raw(quote)
    answered(name, service, "too-big", ip, answer, **more)

NUMBER.update(narrow4=20, narrow6=21)
def sized(family, service, size, dport=443):
    front = head(family, service) / (UDP(sport=5000, dport=53) if dport == 53 else TCP(sport=5000, dport=dport, flags="A"))
    return front / Raw(b"z" * (size - len(raw(front))))
for tags, ethernet in ((0, True), (1, True), (2, True), (0, False)):
    where = f"{tags} tags" if ethernet else "without Ethernet"
    for family in (4, 6):
        balanced(f"IPv{family}, just fits, {where}", "narrow4", sized(family, "narrow4", 1380), tags=tags, ethernet=ethernet)
        too_big(f"IPv{family}, one byte too big, {where}", "narrow4", sized(family, "narrow4", 1381), 1380, tags=tags, ethernet=ethernet)
        balanced(f"IPv{family}, just fits in GUE, {where}", "narrow6", sized(family, "narrow6", 1402), tags=tags, ethernet=ethernet)
        too_big(f"IPv{family}, one byte too big for GUE, {where}", "narrow6", sized(family, "narrow6", 1403), 1402, tags=tags, ethernet=ethernet)
        too_big(f"IPv{family}, 1500 bytes, from the node's address, {where}", "narrow4", sized(family, "narrow4", 1500), 1380, node="192.0.2.1" if family == 4 else "2001:db8::1", on="known", tags=tags, ethernet=ethernet)
too_big("UDP", "narrow4", sized(4, "narrow4", 1471, 53), 1380)
too_big("padded", "narrow4", sized(4, "narrow4", 1381), 1380, padding=7)
reset = head(4, "narrow4") / TCP(sport=5000, dport=443, flags="R") / Raw(b"z" * 1400)
other("narrow4: a reset is answered by nobody", reset, "drop", "too-big", "narrow4")

# A frontend answers pings.
for tags, ethernet in ((0, True), (1, True), (2, True), (0, False)):
    for size in (0, 1, 8, 56, 1400):
        data = Raw(bytes((i * 7 + 3) & 255 for i in range(size)))
        for service in ("ipip4", "none4"):
            ping = head(4, service, tos=0xb8, id=77, ttl=3) / ICMP(type=8, id=5, seq=9) / data
            answered(f"ping of {size}, {tags} tags", service, "echo-answered", ping, IP(src=frontend(service, 4), dst=CLIENT4, id=0, flags="DF", ttl=64) / ICMP(type=0, id=5, seq=9) / data, tags=tags, ethernet=ethernet)
        ping = head(6, "gue6", hlim=3, tc=4, fl=9) / ICMPv6EchoRequest(id=5, seq=9, data=data.load)
        answered(f"ping 6 of {size}, {tags} tags", "gue6", "echo-answered", ping, IPv6(src=frontend("gue6", 6), dst=CLIENT6, hlim=64) / ICMPv6EchoReply(id=5, seq=9, data=data.load), tags=tags, ethernet=ethernet)
for value in (b"\xff\xff\xf7\xff", b"\x00\x00\xf7\xff", b"\xff\xff\xff\xfe"):  # where one's complement has two zeros
    ping = head(4, "ipip4") / ICMP(type=8, id=0, seq=0) / Raw(value)
    answered(f"ping {value.hex()}", "ipip4", "echo-answered", ping, IP(src=frontend("ipip4", 4), dst=CLIENT4, id=0, flags="DF", ttl=64) / ICMP(type=0, id=0, seq=0) / Raw(value))
ping = IP(src=CLIENT4, dst=frontend("ipip4", 4), options=[IPOption_NOP()] * 8) / ICMP(type=8, id=1, seq=2) / Raw(b"options")
answered("ping with options", "ipip4", "echo-answered", ping, IP(src=frontend("ipip4", 4), dst=CLIENT4, id=0, flags="DF", ttl=64) / ICMP(type=0, id=1, seq=2) / Raw(b"options"))
ping = head(6, "ipip6") / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)]) / ICMPv6EchoRequest(id=1, seq=2, data=b"extension")
answered("ping with an extension header", "ipip6", "echo-answered", ping, IPv6(src=frontend("ipip6", 6), dst=CLIENT6, hlim=64) / ICMPv6EchoReply(id=1, seq=2, data=b"extension"), tags=1)
ping = head(4, "ipip4") / ICMP(type=8, id=5, seq=9) / Raw(b"p")
answered("ping, padded", "ipip4", "echo-answered", ping, IP(src=frontend("ipip4", 4), dst=CLIENT4, id=0, flags="DF", ttl=64) / ICMP(type=0, id=5, seq=9) / Raw(b"p"), padding=20)
other("a ping of the rest of the network", IP(src=CLIENT4, dst="198.51.100.99") / ICMP())
other("an echo reply", head(4, "ipip4") / ICMP(type=0))
other("a ping from a group", head(4, "ipip4", client="224.0.0.1") / ICMP())
other("a ping in a first fragment", head(4, "ipip4", id=9, flags="MF") / ICMP() / Raw(b"x" * 8))
other("the rest of that ping", head(4, "ipip4", id=9, frag=2, proto=1) / Raw(b"x" * 8))

# Of no service: as it came, byte for byte.
for tags, ethernet in ((0, True), (1, True), (2, True), (0, False)):
    where = dict(tags=tags, ethernet=ethernet, padding=3 if ethernet else 0)
    for family in (4, 6):
        ip = head(family, "ipip4")
        other(f"IPv{family}, another port", ip / TCP(sport=5, dport=444), **where)
        other(f"IPv{family}, the port of the other protocol", ip / UDP(sport=5, dport=443), **where)
        other(f"IPv{family}, the port as source", ip / TCP(sport=443, dport=5), **where)
        other(f"IPv{family}, from a frontend", (IP if family == 4 else IPv6)(src=ip.dst, dst=ip.src) / TCP(sport=443, dport=443), **where)
        other(f"IPv{family}, GRE", ip / GRE() / Raw(b"x"), **where)
        other(f"IPv{family}, another address", (IP(src=CLIENT4, dst="198.51.100.99") if family == 4 else IPv6(src=CLIENT6, dst="2001:db8:f::99")) / TCP(sport=5, dport=443), **where)
    other("options", IP(src=CLIENT4, dst="198.51.100.99", options=[IPOption_NOP()] * 4) / TCP(sport=5, dport=443), **where)
    other("options to a frontend", IP(src=CLIENT4, dst=frontend("ipip4", 4), options=[IPOption_NOP()] * 4) / TCP(sport=5, dport=444), **where)
    other("a first fragment", IP(src=CLIENT4, dst="198.51.100.99", id=5, flags="MF") / UDP(sport=5, dport=53) / Raw(b"x" * 16), **where)
    other("a later fragment", IP(src=CLIENT4, dst="198.51.100.99", id=5, frag=3, proto=17) / Raw(b"x" * 16), **where)
    other("a first fragment to a frontend's address", head(4, "ipip4", id=100 + tags, flags="MF") / UDP(sport=5, dport=54) / Raw(b"x" * 16), **where)
    other("the rest of it", head(4, "ipip4", id=100 + tags, frag=3, proto=17) / Raw(b"x" * 16), **where)
    other("a first fragment of ESP", head(4, "ipip4", id=200 + tags, flags="MF", proto=50) / Raw(b"x" * 16), **where)
    other("the rest of ESP", head(4, "ipip4", id=200 + tags, frag=2, proto=50) / Raw(b"x" * 16), **where)
    other("a first fragment 6", head(6, "ipip4") / IPv6ExtHdrFragment(id=100 + tags, nh=17, m=1) / Raw(raw(UDP(sport=5, dport=54, len=40, chksum=1)) + b"x" * 8), **where)
    other("the rest of it 6", head(6, "ipip4") / IPv6ExtHdrFragment(id=100 + tags, nh=17, offset=2) / Raw(b"x" * 8), **where)
other("a later fragment whose first nobody saw", head(4, "ipip4", id=4000, frag=3, proto=17) / Raw(b"x" * 16), "drop", "fragment-lost", "ipip4")
other("a later fragment whose first nobody saw, 6", head(6, "ipip4") / IPv6ExtHdrFragment(id=4000, nh=17, offset=2) / Raw(b"x" * 8), "drop", "fragment-lost", "ipip4")

# Errors about what no connection of a service is.
back = IP(src=frontend("ipip4", 4), dst=CLIENT4)
error = head(4, "ipip4", client="203.0.113.99") / ICMP(type=3, code=1)
other("an error about another port", error / Raw(raw(back / TCP(sport=444, dport=5))), reason="error-lost", service="ipip4")
other("an error about what others sent", error / Raw(raw(IP(src="198.51.100.99", dst=CLIENT4) / TCP(sport=443, dport=5))), reason="error-lost", service="ipip4")
other("an error that quotes seven bytes", error / Raw(raw(back / TCP(sport=443, dport=5))[:27]), reason="error-lost", service="ipip4")
other("an error about a later fragment", error / Raw(raw(IP(src=back.src, dst=CLIENT4, frag=4, proto=17) / Raw(b"x" * 8))), reason="error-lost", service="ipip4")
other("an error about a ping", error / Raw(raw(back / ICMP(type=0))), reason="error-lost", service="ipip4")

# Ports in ranges, all ports, who may use it, where.
NUMBER.update(ranges=30, whole=31, guarded=32, inside=33, outside=33, nobody=34, here=35)
for port in (8000, 8050, 8100, 8200, 8300, 9000):
    balanced(f"port {port}", "ranges", head(4, "ranges") / TCP(sport=5, dport=port, flags="S"))
balanced("udp beside a range of tcp", "ranges", head(4, "ranges") / UDP(sport=5, dport=8000))
for port in (7999, 8101, 8199, 8301, 8999, 9001, 0, 65535):
    other(f"ranges: port {port}", head(4, "ranges") / TCP(sport=5, dport=port, flags="S"))
other("ranges: udp", head(4, "ranges") / UDP(sport=5, dport=8001))
for port in (1, 53, 65535, 0):
    balanced(f"port {port}", "whole", head(4, "whole") / UDP(sport=5, dport=port) / Raw(b"all"))
    balanced(f"port {port} 6", "whole", head(6, "whole") / TCP(sport=5, dport=port, flags="S"))
other("whole: tcp", head(4, "whole") / TCP(sport=5, dport=53))
for client in ("203.0.113.0", "203.0.113.15", "192.0.2.128", "192.0.2.255"):
    balanced(f"from {client}", "guarded", head(4, "guarded", client=client) / TCP(sport=5, dport=443, flags="S"))
balanced("from 2001:db8:1::5", "guarded", head(6, "guarded", client="2001:db8:1::5") / TCP(sport=5, dport=443, flags="S"))
for client in ("203.0.113.16", "192.0.2.127", "10.0.0.1"):
    other(f"guarded: from {client}", head(4, "guarded", client=client) / TCP(sport=5, dport=443, flags="S"), "drop", "source-refused", "guarded")
other("guarded: from elsewhere 6", head(6, "guarded", client="2001:db8:2::5") / TCP(sport=5, dport=443, flags="S"), "drop", "source-refused", "guarded")
other("guarded: another port", head(4, "guarded", client="10.0.0.1") / TCP(sport=5, dport=444, flags="S"))
for on, here, there in (("wan", "outside", "inside"), ("lan", "inside", "outside")):
    ports = {"inside": 443, "outside": 444}
    balanced(f"by {on}", here, head(4, here) / TCP(sport=5, dport=ports[here], flags="S"), on=on)
    other(f"{there}: by {on}", head(4, there) / TCP(sport=5, dport=ports[there], flags="S"), on=on)
    other(f"{there}: a fragment by {on}", head(4, there, id=50, flags="MF") / TCP(sport=5, dport=ports[there], flags="S") / Raw(b"x" * 4), on=on)
    other(f"{there}: the rest of it by {on}", head(4, there, id=50, frag=3, proto=6) / Raw(b"x" * 4), on=on)
    quote = Raw(raw(IP(src=frontend(here, 4), dst=CLIENT4) / TCP(sport=ports[here], dport=5)))
    balanced(f"an error by {on}", here, head(4, here, client="203.0.113.99") / ICMP(type=3, code=1) / quote, on=on)
other("nobody: a SYN", head(4, "nobody") / TCP(sport=5, dport=443, flags="S"), "drop", "no-backend", "nobody")
quote = Raw(raw(IP(src=frontend("nobody", 4), dst=CLIENT4) / TCP(sport=443, dport=5)))
other("nobody: an error", head(4, "nobody", client="203.0.113.99") / ICMP(type=3, code=1) / quote, "drop", "no-backend", "nobody")
for family in (4, 6):
    other(f"here: IPv{family}", head(family, "here") / TCP(sport=5, dport=443, flags="S"), "pass", "balanced-up", "here", "b", tags=1, padding=9)

# The segment size of SYNs is clamped; scapy computes the checksum anew.
NUMBER.update(clamped=36)
for family in (4, 6):
    for tags, ethernet in ((0, True), (1, True), (2, True), (0, False)):
        for before, after in ((1460, 1360), (65535, 1360), (1361, 1360), (1360, 1360), (1359, 1359), (536, 536), (0, 0)):
            for where, options in (("first", lambda m: [("MSS", m), ("SAckOK", b"")]), ("last", lambda m: [("NOP", None), ("WScale", 7), ("SAckOK", b""), ("NOP", None), ("NOP", None), ("MSS", m)]),
                                   ("odd", lambda m: [("NOP", None), ("MSS", m), ("NOP", None), ("NOP", None), ("NOP", None)])):
                packet = lambda m: head(family, "clamped") / TCP(sport=before or 1, dport=443, flags="S", seq=before * 7919, options=options(m))
                balanced(f"IPv{family}, MSS {before} {where}, {tags} tags", "clamped", packet(before), tags=tags, ethernet=ethernet, becomes=packet(after))
    plain = head(family, "clamped") / TCP(sport=9, dport=443, flags="S")
    balanced(f"IPv{family}, no options", "clamped", plain)
    balanced(f"IPv{family}, no SYN", "clamped", head(family, "clamped") / TCP(sport=9, dport=443, flags="A", options=[("MSS", 1460)]))
    balanced(f"IPv{family}, the end of options before it", "clamped", head(family, "clamped") / TCP(sport=9, dport=443, flags="S", options=[("EOL", None), ("MSS", 1460), ("EOL", None)]))
