#!/usr/bin/python3
"""Encapsulated packets and what a backend must make of them: one JSON object a line.

Frames are built by scapy, before and after; which ECN belongs into the packet is RFC 6040's figure 4, written down here.
The node takes ipip, and gue on port 6080, from 10.0.0.0/28 and 2001:db8:ba1::/64.
"""
import itertools
import json
import struct

from scapy.all import (ICMP, IP, TCP, UDP, Dot1AD, Dot1Q, Ether, ICMPv6EchoRequest, IPOption_NOP, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                       PadN, Raw, checksum, raw)

BALANCER = {4: "10.0.0.5", 6: "2001:db8:ba1::5"}
STRANGER = {4: "10.0.1.5", 6: "2001:db8:ba2::5"}
BACKEND = {4: "10.0.1.11", 6: "2001:db8:1::11"}
CLIENT = {4: "192.0.2.7", 6: "2001:db8:c::7"}
FRONTEND = {4: "198.51.100.10", 6: "2001:db8:f::10"}
NOT_ECT, ECT1, ECT0, CE = 0, 1, 2, 3
# RFC 6040, figure 4: arriving inner: arriving outer Not-ECT, ECT(0), ECT(1), CE
FIGURE4 = {NOT_ECT: (NOT_ECT, NOT_ECT, NOT_ECT, None), ECT0: (ECT0, ECT0, ECT1, CE), ECT1: (ECT1, ECT1, ECT1, CE), CE: (CE, CE, CE, CE)}
COLUMN = {NOT_ECT: 0, ECT0: 1, ECT1: 2, CE: 3}
TYPE = {4: 0x0800, 6: 0x86DD}
TAGS = {0: [], 1: [Dot1Q(vlan=7, prio=3)], 2: [Dot1AD(vlan=300), Dot1Q(vlan=7)]}


def ip(version, source, destination, tos=0, **more):
    if version == 4:
        return IP(src=source, dst=destination, tos=tos, ttl=61, id=0x1234, **more)
    return IPv6(src=source, dst=destination, tc=tos, hlim=61, fl=0x12345, **more)


def inner(version, payload, ecn=0, dscp=10, **more):
    return raw(ip(version, CLIENT[version], FRONTEND[version], dscp << 2 | ecn, **more) / payload)


def outer(version, kind, content, inner_version, ecn=0, source=BALANCER, port=6080, udp=None, header=None, **more):
    """The bytes from the outer IP header on."""
    head = ip(version, source[version], BACKEND[version], 0x28 << 2 | ecn, **more)
    if kind == "ipip":
        number = 4 if inner_version == 4 else 41
        if version == 4:
            head.proto = number
        else:
            head.nh = number
        return raw(head / Raw(content))
    if kind == "gue0":
        content = (header if header is not None else bytes([0, 4 if inner_version == 4 else 41, 0, 0])) + content
    return raw(head / UDP(sport=40000, dport=port, **(udp or {})) / Raw(content))


def frame(version, datagram, tags=0, ethernet=True):
    if not ethernet:
        return datagram
    link = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    for tag in TAGS[tags]:
        link = link / tag.copy()
    data = raw(link / Raw(datagram))
    # The innermost type says what follows; scapy leaves it at its default in front of Raw.
    at = 12 + 4 * tags
    return data[:at] + struct.pack("!H", TYPE[version]) + data[at + 2:]


def payloads(version):
    icmp = ICMP(type=8, id=1, seq=2) if version == 4 else ICMPv6EchoRequest(id=1, seq=2)
    yield "tcp", TCP(sport=4000, dport=443, flags="S", options=[("MSS", 1460)]), {}
    yield "udp", UDP(sport=4000, dport=53) / Raw(b"question"), {}
    yield "udp without checksum", UDP(sport=4000, dport=53, chksum=0) / Raw(b"question"), {}
    yield "icmp", icmp / Raw(bytes(range(40))), {}
    yield "gre", Raw(b"\0\0\x08\0" + bytes(20)), {"proto" if version == 4 else "nh": 47}
    if version == 4:
        yield "options", TCP(sport=4000, dport=443), {"options": [IPOption_NOP()] * 8}
        yield "first fragment", UDP(sport=4000, dport=53, len=3000) / Raw(bytes(1400)), {"flags": "MF"}
        yield "later fragment", Raw(bytes(800)), {"frag": 176, "proto": 17}
    else:
        yield "extensions", IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / TCP(sport=4000, dport=443), {}
        yield "first fragment", IPv6ExtHdrFragment(m=1, id=77) / UDP(sport=4000, dport=53, len=3000) / Raw(bytes(1400)), {}
        yield "later fragment", IPv6ExtHdrFragment(offset=176, id=77, nh=17) / Raw(bytes(800)), {}
    yield "no payload", Raw(b""), {"proto" if version == 4 else "nh": 59}
    yield "jumbo", TCP(sport=4000, dport=443) / Raw(bytes(8000)), {}


def emit(name, data, reason, verdict="pass", out=None, ethernet=True, interface="a", linear=0):
    exits = [["pass", "no-policy", "", ""]]
    if reason != "no-policy":
        exits.append([verdict, reason, "", ""])
    print(json.dumps({"name": name, "on": interface, "ethernet": ethernet, "linear": linear, "hex": data.hex(), "verdict": verdict, "exits": exits,
                      "out": (out or b"").hex()}))


KINDS = ("ipip", "gue0", "gue1")
FAMILIES = list(itertools.product((4, 6), (4, 6)))


def stripped():
    """Every combination of families, encapsulation and what is inside."""
    for (o, i), kind in itertools.product(FAMILIES, KINDS):
        for what, payload, more in payloads(i):
            content = inner(i, payload, **more)
            data = outer(o, kind, content, i)
            name = f"{i} in {o}, {kind}, {what}"
            for tags in TAGS:
                emit(f"{name}, {tags} tags", frame(o, data, tags), "decapsulated", out=frame(i, content, tags))
            emit(f"{name}, no Ethernet", frame(o, data, ethernet=False), "decapsulated", out=content, ethernet=False)


def marked():
    """RFC 6040, every cell; checksums of the packet that goes on are scapy's."""
    for (o, i), kind, of_inner, of_outer in itertools.product(FAMILIES, KINDS, (0, 1, 2, 3), (0, 1, 2, 3)):
        payload = TCP(sport=4000, dport=443, flags="A")
        data = frame(o, outer(o, kind, inner(i, payload, of_inner), i, of_outer), 1)
        ecn = FIGURE4[of_inner][COLUMN[of_outer]]
        name = f"{i} in {o}, {kind}, ECN {of_inner} in {of_outer}"
        if ecn is None:
            emit(name, data, "decap-ecn", "drop")
        else:
            emit(name, data, "decapsulated", out=frame(i, inner(i, payload, ecn), 1))
    # A header whose checksum changes its sign bits: every DSCP.
    for dscp in range(64):
        data = frame(4, outer(4, "ipip", inner(4, Raw(b"x" * dscp), ECT0, dscp, proto=253), 4, CE))
        emit(f"mark at DSCP {dscp}", data, "decapsulated", out=frame(4, inner(4, Raw(b"x" * dscp), CE, dscp, proto=253)))


def around():
    """What the outer headers may look like, and what lies behind the packet."""
    payload = TCP(sport=4000, dport=443, flags="A")
    for o, i in FAMILIES:
        content = inner(i, payload)
        out = frame(i, content)
        if o == 4:
            emit(f"{i} in 4 with options", frame(4, outer(4, "ipip", content, i, options=[IPOption_NOP()] * 4)), "decapsulated", out=out)
            emit(f"{i} in 4 with most options", frame(4, outer(4, "gue1", content, i, options=[IPOption_NOP()] * 40)), "decapsulated", out=out)
            wrong = bytearray(outer(4, "ipip", content, i, options=[IPOption_NOP()] * 8))
            wrong[27] ^= 1
            emit(f"{i} in 4, an option was changed", frame(4, bytes(wrong)), "decap-malformed", "drop")
            wrong = bytearray(outer(4, "ipip", content, i))
            wrong[8] ^= 1
            emit(f"{i} in 4, wrong checksum", frame(4, bytes(wrong)), "decap-malformed", "drop")
            emit(f"{i} in 4, wrong checksum, malformed: pass", frame(4, bytes(wrong)), "decap-malformed", interface="b")
            emit(f"{i} in 4, don't fragment", frame(4, outer(4, "ipip", content, i, flags="DF")), "decapsulated", out=out)
        else:
            limit = raw(IPv6ExtHdrDestOpt(nh=4 if i == 4 else 41, options=[PadN(optdata=bytes(4))]))  # as Linux' ip6tnl sends one
            data = raw(ip(6, BALANCER[6], BACKEND[6], nh=60) / Raw(limit + content))
            emit(f"{i} in 6 behind an extension header", frame(6, data), "decapsulated", out=out)
        for kind in KINDS:
            data = outer(o, kind, content, i)
            emit(f"{i} in {o}, {kind}, padding of the frame", frame(o, data) + bytes(7), "decapsulated", out=out + bytes(7))
            emit(f"{i} in {o}, {kind}, the inner is shorter", frame(o, outer(o, kind, content + b"tail", i)), "decapsulated", out=out + b"tail")
            emit(f"{i} in {o}, {kind}, a stranger", frame(o, outer(o, kind, content, i, source=STRANGER)), "decap-foreign")
            emit(f"{i} in {o}, {kind}, interface without", frame(o, data), "no-policy", interface="c")
            emit(f"{i} in {o}, {kind}, anybody's", frame(o, outer(o, kind, content, i, source=STRANGER)), "decapsulated", out=out, interface="d")
            at = len(frame(o, data)) - len(content)
            for linear in (14, 34, at - 1, at, at + 19):
                emit(f"{i} in {o}, {kind}, {linear} bytes in the first piece", frame(o, data), "decap-unsupported", linear=linear)
            for linear in (at + 20, len(frame(o, data)) - 1):
                emit(f"{i} in {o}, {kind}, {linear} bytes in the first piece", frame(o, data), "decapsulated", out=out, linear=linear)
        udp_ends = 1 if o == 4 else 0
        for checksum_of_udp in ({"chksum": 0}, {"chksum": 0xBAD}):  # none, which tunnels may (RFC 6935); a wrong one
            emit(f"{i} in {o}, gue, UDP checksum {checksum_of_udp}", frame(o, outer(o, "gue1", content, i, udp=checksum_of_udp)), "decapsulated", out=out)
        short = outer(o, "gue1", content, i, udp={"len": 8 + len(content) - 1})
        emit(f"{i} in {o}, gue, UDP is shorter than what is inside", frame(o, short), "decap-malformed", "drop")
        more = outer(o, "gue1", content + b"behind", i, udp={"len": 8 + len(content)})
        emit(f"{i} in {o}, gue, IP is longer than UDP ({udp_ends})", frame(o, more), "decapsulated", out=out + b"behind")
        emit(f"{i} in {o}, gue, another port", frame(o, outer(o, "gue1", content, i, port=6081)), "no-policy")
        emit(f"{i} in {o}, gue, empty", frame(o, outer(o, "gue1", b"", i)), "decap-malformed", "drop")
        emit(f"{i} in {o}, gue, three bytes", frame(o, outer(o, "gue1", b"\0\4\0", i)), "decap-malformed", "drop")
        number = 4 if i == 4 else 41
        for what, header in (("flags", bytes([0, number, 0, 1])), ("optional fields", bytes([1, number, 0x80, 0]) + bytes(4)), ("a control message", bytes([0x20, 1, 0, 0])),
                             ("TCP", bytes([0, 6, 0, 0])), ("no next header", bytes([0, 59, 0, 0])), ("variant 2", bytes([0x80, number, 0, 0])), ("variant 3", bytes([0xC0, number, 0, 0])),
                             ("variant 1, version 5", bytes([0x50, number, 0, 0])), ("variant 1, version 7", bytes([0x70, number, 0, 0]))):
            emit(f"{i} in {o}, gue with {what}", frame(o, outer(o, "gue0", content, i, header=header)), "decap-unsupported")
        other = 10 - i
        emit(f"{i} in {o}, called {other}", frame(o, outer(o, "ipip", content, other)), "decap-malformed", "drop")
        emit(f"{i} in {o}, gue, called {other}", frame(o, outer(o, "gue0", content, other)), "decap-malformed", "drop")
        for kind in KINDS:
            for size in (0, 1, 19, 20, 39, len(content) - 1):
                if kind == "gue1" and size == 0:
                    continue
                reason = "decap-malformed"
                emit(f"{i} in {o}, {kind}, cut behind {size} bytes", frame(o, outer(o, kind, content[:size], i)), reason, "drop")
        nested = inner(i, Raw(inner(i, payload)), proto=4) if i == 4 else inner(i, Raw(inner(i, payload)), nh=41)
        emit(f"{i} in {i} in {o}", frame(o, outer(o, "ipip", nested, i)), "decap-nested", out=frame(i, nested))


def broken():
    """Inner headers that contradict themselves, outer fragments."""
    payload = TCP(sport=4000, dport=443, flags="A")
    for o in (4, 6):
        content = bytearray(inner(4, payload))
        for what, at, value in (("no header length", 0, 0x44), ("more header than packet", 0, 0x4F), ("version 0", 0, 0x05), ("total of 19", 3, 19), ("total beyond the end", 3, 200)):
            bad = bytearray(content)
            bad[at] = value
            emit(f"4 in {o}, {what}", frame(o, outer(o, "ipip", bytes(bad), 4)), "decap-malformed", "drop")
        bad = bytearray(content)
        bad[10] ^= 0x55  # the host finds out, before as after the mark
        out = bytearray(bad)
        total = checksum(bytes(content)[:20])
        assert total == 0
        emit(f"4 in {o}, inner checksum wrong", frame(o, outer(o, "ipip", bytes(bad), 4)), "decapsulated", out=frame(4, bytes(out)))
    content = inner(4, payload)
    four = IP(src=BALANCER[4], dst=BACKEND[4], proto=4, id=9)
    first, later = four.copy(), four.copy()
    first.flags = "MF"
    later.frag = 10
    emit("first fragment of 4 in 4", frame(4, raw(first / Raw(content))), "decap-fragment")
    emit("later fragment of 4 in 4", frame(4, raw(later / Raw(content))), "decap-fragment")
    udp = raw(UDP(sport=4000, dport=6080, len=3000, chksum=0) / Raw(content))
    first.proto = later.proto = 17
    emit("first fragment of gue", frame(4, raw(first / Raw(udp))), "decap-fragment")
    emit("later fragment of gue: nobody knows its port", frame(4, raw(later / Raw(udp))), "no-policy")
    for m, offset in ((1, 0), (0, 10)):
        data = raw(IPv6(src=BALANCER[6], dst=BACKEND[6]) / IPv6ExtHdrFragment(m=m, offset=offset, id=5, nh=4) / Raw(content))
        emit(f"fragment {m} {offset} of 4 in 6", frame(6, data), "decap-fragment")
    data = raw(IPv6(src=STRANGER[6], dst=BACKEND[6]) / IPv6ExtHdrFragment(m=1, id=5, nh=4) / Raw(content))
    emit("fragment of a stranger", frame(6, data), "decap-foreign")
    for o in (4, 6):
        plain = raw(ip(o, CLIENT[o], FRONTEND[o]) / TCP(sport=1, dport=80))
        emit(f"plain TCP over {o}", frame(o, plain), "no-policy")


for cases in (stripped, marked, around, broken):
    cases()
