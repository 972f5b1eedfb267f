#!/usr/bin/python3
"""Fixed packet cases, built and dissected by scapy: one JSON object a line.

Each case says what must become of the packet under cases.yaml.  `parsed` is what scapy, not we, reads from the bytes.
"""
import json
import os

from scapy.all import (ARP, GRE, ICMP, IP, IPv6, TCP, UDP, Dot1AD, Dot1Q, Ether, Raw, DHCP6_Advertise, ICMPv6DestUnreach,
                       ICMPv6EchoRequest, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6PacketTooBig, IPOption_NOP, IPv6ExtHdrDestOpt,
                       IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN, TCPerror, UDPerror, rdpcap)
from scapy.contrib.wireguard import (Wireguard, WireguardCookieReply, WireguardInitiation, WireguardResponse,
                                     WireguardTransport)
from scapy.layers.ipsec import AH

ETHER = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
OUT4, ADMIN4, BAD4, ME4 = "192.0.2.7", "203.0.113.5", "198.51.100.77", "192.0.2.200"
OUT6, ADMIN6, BAD6, ME6 = "2001:db9::7", "2001:db8:1::5", "2001:db8:bad:1::2", "2001:db8::200"
v4 = lambda src=OUT4, **k: IP(src=src, dst=ME4, **k)
v6 = lambda src=OUT6, **k: IPv6(src=src, dst=ME6, **k)
tcp = lambda port, **k: TCP(sport=40000, dport=port, **k)


def dissect(raw, ethernet):
    """The fields of the outermost IP packet, as scapy sees them."""
    first = Ether(raw) if ethernet else (IP(raw) if raw[0] >> 4 == 4 else IPv6(raw))
    vlans = [l for l in first.iterpayloads() if isinstance(l, (Dot1Q, Dot1AD))]
    ip = next((l for l in first.iterpayloads() if isinstance(l, (IP, IPv6))), None)
    if ip is None:
        return None
    out = {"source": ip.src, "destination": ip.dst, "vlans": [(v.prio << 13) | (v.id << 12) | v.vlan for v in vlans],
           "hop_limit": ip.ttl if isinstance(ip, IP) else ip.hlim, "ports": None, "icmp": None}
    layer, later, first_fragment = ip, False, False
    if isinstance(ip, IP):
        out["protocol"] = ip.proto
        later, first_fragment = ip.frag > 0, ip.frag == 0 and bool(ip.flags.MF)
    else:
        while any(f.name == "nh" for f in layer.fields_desc):
            out["protocol"] = layer.nh
            if isinstance(layer, IPv6ExtHdrFragment):
                later, first_fragment = layer.offset > 0, layer.offset == 0 and layer.m == 1
                if later:
                    break
            layer = layer.payload
    out["later"], out["first"] = later, first_fragment
    if not later:
        upper = next((l for l in ip.iterpayloads() if isinstance(l, (TCP, UDP)) and not isinstance(l, (TCPerror, UDPerror))), None)
        if upper is not None and out["protocol"] in (6, 17):
            out["ports"] = [upper.sport, upper.dport]
            if isinstance(upper, TCP):
                out["tcp_flags"] = int(upper.flags) & 0xFF
        if out["protocol"] == 1 and ICMP in ip:
            out["icmp"] = [ip[ICMP].type, ip[ICMP].code]
    return out


def case(name, packet, verdict, reason, rule="", on="wan", ethernet=True, exits=None, parse=True, cut=0, patch=None, linear=0, quoted=False, answer=None):
    raw = bytearray(bytes(packet))
    for at, value in (patch or {}).items():
        raw[at] = value
    raw = bytes(raw[:len(raw) - cut])
    if ethernet and len(raw) < 14 or len(raw) < 14:
        raw = raw.ljust(14, b"\0")
    parse = parse and reason not in ("malformed", "not-ip")
    policy = {"wan": "edge", "lenient": "edge", "audited": "watch"}.get(on, "")
    exits = exits or [[verdict, reason, policy if reason not in ("malformed", "not-ip", "no-policy") else "", rule]]
    parsed = dissect(raw, ethernet) if parse else None
    if quoted is not False:  # what the quoted packet was built from; None: nothing that makes sense
        parsed["quoted"] = quoted and dict(zip(("source", "destination", "protocol", "ports"), quoted))
    print(json.dumps({"name": name, "on": on, "ethernet": ethernet, "linear": linear, "hex": raw.hex(),
                      "verdict": "pass" if verdict == "audit" else verdict, "exits": exits,
                      "answer": bytes(answer).hex() if answer is not None else "",
                      "parsed": parsed}))


# Rules, one by one.
case("web", ETHER / v4() / tcp(443, flags="S"), "pass", "rule", "web")
case("web6", ETHER / v6() / tcp(80, flags="SA"), "pass", "rule", "web")
case("default", ETHER / v4() / tcp(25), "drop", "default")
case("default6", ETHER / v6() / tcp(25), "drop", "default")
case("set", ETHER / v4(ADMIN4) / tcp(25), "pass", "rule", "admins")
case("set6", ETHER / v6(ADMIN6) / tcp(25), "pass", "rule", "admins")
case("first address of a set", ETHER / v4("203.0.113.0") / tcp(25), "pass", "rule", "admins")
case("last address of a set", ETHER / v4("203.0.113.15") / tcp(25), "pass", "rule", "admins")
case("one behind a set", ETHER / v4("203.0.113.16") / tcp(25), "drop", "default")
case("bad", ETHER / v4(BAD4) / tcp(443), "drop", "rule", "bad")
case("bad6", ETHER / v6(BAD6) / tcp(443), "drop", "rule", "bad")
case("bad by its own prefix", ETHER / v4("192.0.2.66") / tcp(443), "drop", "rule", "bad")
case("in none of three", ETHER / v4() / tcp(8443), "drop", "rule", "outsiders")
case("in one of three", ETHER / v4("10.1.2.3") / tcp(8443), "pass", "rule", "private")
case("udp ports", ETHER / v4() / UDP(sport=5000, dport=6000), "pass", "rule", "high")
case("udp source below", ETHER / v4() / UDP(sport=1023, dport=6000), "drop", "default")
case("udp destination excluded", ETHER / v4() / UDP(sport=5000, dport=5353), "drop", "default")
case("udp last port", ETHER / v6() / UDP(sport=65535, dport=65535), "pass", "rule", "high")
case("ping", ETHER / v4() / ICMP(), "pass", "rule", "ping")
case("icmp in IPv6 is not icmp", ETHER / v6(nh=1) / ICMP(), "drop", "default", parse=False)
case("ping6", ETHER / v6() / ICMPv6EchoRequest(), "pass", "rule", "ping6")
case("gre", ETHER / v4() / GRE() / IP(src="10.0.0.1", dst="10.0.0.2") / tcp(80), "pass", "rule", "tunnel")
case("no policy", ETHER / v4() / tcp(25), "pass", "no-policy", on="bare")
case("arp", ETHER / ARP(), "pass", "not-ip")
case("length field", Ether(type=46) / Raw(b"\x42" * 46), "pass", "not-ip")

# ICMP errors quote the packet that caused them: whole, cut behind eight bytes of its transport header, or nonsense.
HOST4, HOST6 = "10.7.7.7", "2001:db8:7::7"
quote4 = IP(src=ME4, dst=HOST4) / UDP(sport=1111, dport=53) / Raw(b"q" * 40)
quote6 = IPv6(src=ME6, dst=HOST6) / TCP(sport=2222, dport=443) / Raw(b"q" * 40)
flow4, flow6 = [ME4, HOST4, 17, [1111, 53]], [ME6, HOST6, 6, [2222, 443]]
def error(name, quote, flow, icmp=ICMP(type=3, code=1), keep=None, patch=None):
    raw = bytearray(bytes(quote))
    for at, value in (patch or {}).items():
        raw[at] = value
    case(f"quote: {name}", ETHER / v4() / icmp / Raw(bytes(raw[:keep])), "pass", "rule", "ping", quoted=flow)
def error6(name, quote, flow, icmp=None, keep=None):
    case(f"quote 6: {name}", ETHER / v6() / (icmp or ICMPv6DestUnreach()) / Raw(bytes(quote)[:keep]), "pass", "rule", "ping6", quoted=flow)
for kind in (3, 4, 5, 11, 12):
    error(f"whole, type {kind}", quote4, flow4, ICMP(type=kind))
error("eight bytes of transport", quote4, flow4, keep=28)
error("seven bytes of transport", quote4, None, keep=27)
error("header cut", quote4, None, keep=19)
error("options", IP(src=ME4, dst=HOST4, options=[IPOption_NOP()] * 8) / TCP(sport=9, dport=10), [ME4, HOST4, 6, [9, 10]], keep=36)
error("later fragment", IP(src=ME4, dst=HOST4, frag=185, proto=17) / Raw(b"1234"), [ME4, HOST4, 17, None])
error("protocol without ports", IP(src=ME4, dst=HOST4, proto=50), [ME4, HOST4, 50, None])
error("ihl 4", quote4, None, patch={0: 0x44})
error("IPv6 in ICMP", quote6, None)
error("total below the header", quote4, None, patch={2: 0, 3: 19})
error("nothing", Raw(b""), None)
error6("whole", quote6, flow6)
error6("too big", quote6, flow6, ICMPv6PacketTooBig(mtu=1280))
error6("eight bytes of transport", quote6, flow6, keep=48)
error6("seven bytes of transport", quote6, None, keep=47)
error6("extensions", IPv6(src=ME6, dst=HOST6) / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)]) / UDP(sport=3, dport=4), [ME6, HOST6, 17, [3, 4]])
error6("extensions cut", IPv6(src=ME6, dst=HOST6) / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)]) / UDP(sport=3, dport=4), None, keep=50)
error6("mapped address", IPv6(src="::ffff:10.0.0.1", dst=HOST6) / UDP(sport=3, dport=4), None)
error6("IPv4 in ICMPv6", quote4, None)

# Kept under default: drop.
case("neighbour solicitation", ETHER / IPv6(src="fe80::2", dst="ff02::1:ff00:200", hlim=255) / ICMPv6ND_NS(tgt="fe80::200"), "pass", "kept-nd")
case("router advertisement", ETHER / IPv6(src="fe80::2", dst="ff02::1", hlim=255) / ICMPv6ND_RA(), "pass", "kept-nd")
case("a rule drops nd", ETHER / IPv6(src="fe80::bad", dst="ff02::1", hlim=255) / ICMPv6ND_RA(), "drop", "rule", "no-ra")
case("forwarded nd", ETHER / IPv6(src="fe80::2", dst="ff02::1", hlim=254) / ICMPv6ND_RA(), "drop", "default")
case("dhcp reply", ETHER / IP(src="192.0.2.1", dst="255.255.255.255") / UDP(sport=67, dport=68) / Raw(b"x" * 240), "pass", "kept-dhcp")
case("dhcp request", ETHER / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / Raw(b"x" * 240), "drop", "default")
case("dhcpv6 reply", ETHER / IPv6(src="fe80::2", dst="fe80::200") / UDP(sport=547, dport=546) / DHCP6_Advertise(), "pass", "kept-dhcp")
case("dhcpv6 ports in IPv4", ETHER / v4() / UDP(sport=547, dport=546), "drop", "default")

# Audit, and several policies on one hook.
case("audit rule", ETHER / v4() / tcp(22), "audit", "rule", "ssh", on="audited")
case("audit default", ETHER / v4() / tcp(25), "audit", "default", on="audited")
case("audit accept", ETHER / v4() / tcp(80), "pass", "rule", "web", on="audited")
case("first policy drops", ETHER / v4() / tcp(22), "drop", "rule", on="double", exits=[["drop", "rule", "first", "ssh"]])
case("three policies accept", ETHER / v4() / tcp(80), "pass", "default", on="double",
     exits=[["pass", "rule", "first", "web"], ["audit", "default", "second", ""], ["pass", "default", "third", ""]])
case("third policy drops", ETHER / v4(BAD4) / tcp(80), "drop", "rule", on="double",
     exits=[["pass", "rule", "first", "web"], ["audit", "default", "second", ""], ["drop", "rule", "third", "web"]])

# What headers say; every rule has an address of its own, and a first rule counts all of 10/8 and goes on.
def heads(name, packet, rule="", on="heads", seen=True, tried=False, **more):
    exits = [["continue", "rule", "heads", "seen"]] * seen + [["audit", "rule", "heads", "tried"]] * tried
    exits.append(["pass", "rule", "heads", rule] if rule else ["drop", "default", "heads", ""])
    case(f"heads: {name}", packet, exits[-1][0], exits[-1][1], rule, on=on, exits=exits, **more)
def heads6(name, packet, rule="", **more):
    heads(name + " 6", packet, rule, seen=False, **more)
for flags, rule in (("S", "syn"), ("SE", "syn"), ("SA", ""), ("SF", ""), ("SR", ""), ("A", "")):
    heads(f"syn {flags}", ETHER / v4("10.1.0.1") / tcp(1, flags=flags), rule, tried=True)
for flags, rule in (("A", "established"), ("R", "established"), ("PA", "established"), ("S", ""), ("FPU", "")):
    heads(f"established {flags}", ETHER / v4("10.1.0.2") / tcp(1, flags=flags), rule, tried=True)
for flags, rule in (("FU", "odd"), ("FPU", "odd"), ("FUA", ""), ("F", ""), ("U", "")):
    heads(f"odd {flags}", ETHER / v4("10.1.0.3") / tcp(1, flags=flags), rule, tried=True)
for port, rule in ((80, "ports"), (22, "ports"), (8000, "ports"), (8099, "ports"), (8100, ""), (7999, ""), (81, "")):
    heads(f"port {port}", ETHER / v4("10.1.0.4") / tcp(port), rule, tried=True)
heads("flags are TCP's", ETHER / v4("10.1.0.2") / UDP(sport=1, dport=0x1414), tried=True)
heads("ping", ETHER / v4("10.2.0.1") / ICMP(), "ping")
heads("pong", ETHER / v4("10.2.0.1") / ICMP(type=0))
heads("too big", ETHER / v4("10.2.0.1") / ICMP(type=3, code=4), "ping")
heads("port unreachable", ETHER / v4("10.2.0.1") / ICMP(type=3, code=3))
heads6("ping", ETHER / v6("2001:db8:2::1") / ICMPv6EchoRequest(), "ping")
heads6("too big", ETHER / v6("2001:db8:2::1") / ICMPv6PacketTooBig(), "ping")
heads6("unreachable", ETHER / v6("2001:db8:2::1") / ICMPv6DestUnreach())
heads("code", ETHER / v4("10.2.0.2") / ICMP(type=3, code=4), "code")
heads("other code", ETHER / v4("10.2.0.2") / ICMP(type=3, code=5))
heads("any code", ETHER / v4("10.2.0.2") / ICMP(type=11, code=1), "code")
for tags, rules in ((ETHER, ("", "untagged", "", "")), (ETHER / Dot1Q(vlan=10, prio=7), ("vlan", "", "tagged", "")),
                    (ETHER / Dot1Q(vlan=20), ("vlan", "", "tagged", "other-vlan")), (ETHER / Dot1Q(vlan=31), ("", "", "tagged", "other-vlan")),
                    (ETHER / Dot1AD(vlan=30) / Dot1Q(vlan=10), ("vlan", "", "tagged", "other-vlan")), (ETHER / Dot1Q(vlan=0, prio=1), ("", "", "tagged", "other-vlan"))):
    for i, rule in enumerate(rules):
        heads(f"vlan {tags.summary()} {i}", tags / v4(f"10.3.0.{i + 1}") / tcp(1), rule)
for value, rule in ((46, "dscp"), (1, "dscp"), (3, "dscp"), (0, ""), (4, ""), (63, "")):
    heads(f"dscp {value}", ETHER / v4("10.4.0.1", tos=value << 2 | 1) / tcp(1), rule)
    heads6(f"dscp {value}", ETHER / v6("2001:db8:4::1", tc=value << 2 | 2, fl=0xfffff) / tcp(1), rule)
for value, rule in ((0, "ttl"), (1, "ttl"), (2, ""), (254, ""), (255, "ttl")):
    heads(f"ttl {value}", ETHER / v4("10.5.0.1", ttl=value) / tcp(1), rule)
    heads6(f"ttl {value}", ETHER / v6("2001:db8:5::1", hlim=value) / tcp(1), rule)
for size, rule in ((60, "length"), (61, ""), (999, ""), (1000, "length"), (1001, "length")):
    heads(f"length {size}", ETHER / v4("10.6.0.1") / tcp(1) / Raw(bytes(size - 40)), rule)
    heads6(f"length {size}", ETHER / v6("2001:db8:6::1") / tcp(1) / Raw(bytes(size - 60)), rule)
heads("length of padding", Raw(bytes(ETHER / v4("10.6.0.1") / tcp(1)) + bytes(40)), "length")
heads("first", ETHER / v4("10.7.0.1", flags="MF", id=70) / UDP(sport=1, dport=2, len=100), "first")
heads("not first", ETHER / v4("10.7.0.1", frag=5, id=71) / Raw(b"x" * 8))
heads("whole is not first", ETHER / v4("10.7.0.1") / tcp(1))
heads6("first", ETHER / v6("2001:db8:7::1") / IPv6ExtHdrFragment(m=1, id=72) / tcp(1), "first")
heads6("atomic is not first", ETHER / v6("2001:db8:7::1") / IPv6ExtHdrFragment(id=73) / tcp(1))
heads("later", ETHER / v4("10.7.0.2", frag=185, id=74) / Raw(b"x" * 8), "later")
heads("middle is later", ETHER / v4("10.7.0.2", frag=185, flags="MF", id=75) / Raw(b"x" * 8), "later")
heads6("later", ETHER / v6("2001:db8:7::2") / IPv6ExtHdrFragment(nh=17, offset=10, id=76) / Raw(b"x" * 8), "later")
heads("first is a fragment", ETHER / v4("10.7.0.3", flags="MF", id=77) / tcp(1), "fragment")
heads("later is a fragment", ETHER / v4("10.7.0.3", frag=185, proto=6, id=78) / Raw(b"x" * 8), "fragment")
heads("whole is no fragment", ETHER / v4("10.7.0.3") / tcp(1))
heads("whole", ETHER / v4("10.7.0.4", flags="DF") / tcp(1), "whole")
heads("first is not whole", ETHER / v4("10.7.0.4", flags="MF", id=79) / tcp(1))
heads("later is not whole", ETHER / v4("10.7.0.4", frag=185, proto=6, id=80) / Raw(b"x" * 8))
for address, with_options, without in (("0.1", "options", ""), ("0.2", "", "plain")):
    heads(f"options {address}", ETHER / v4(f"10.8.{address}", options=[IPOption_NOP()] * 4) / tcp(1), with_options)
    heads(f"no options {address}", ETHER / v4(f"10.8.{address}") / tcp(1), without)
    source = f"2001:db8:8::{address[-1]}"
    heads6(f"options {address}", ETHER / v6(source) / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / tcp(1), with_options)
    heads6(f"no options {address}", ETHER / v6(source) / tcp(1), without)
    heads6(f"fragment header {address}", ETHER / v6(source) / IPv6ExtHdrFragment(id=81) / tcp(1), without)
    heads6(f"options before a later fragment {address}", ETHER / v6(source) / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
           / IPv6ExtHdrFragment(nh=6, offset=10, id=82) / Raw(b"x" * 8), with_options)
for last, rule, other in ((2, "mac", ""), (3, "mac", ""), (4, "", "other-mac")):
    link = Ether(dst="02:00:00:00:00:01", src=f"02:00:00:00:00:{last:02}")
    heads(f"mac {last}", link / v4("10.9.0.1") / tcp(1), rule)
    heads(f"not mac {last}", link / v4("10.9.0.2") / tcp(1), other)
heads("no Ethernet, no address", v4("10.9.0.1") / tcp(1), ethernet=False)
heads("no Ethernet, none of these addresses", v4("10.9.0.2") / tcp(1), "other-mac", ethernet=False)
heads("interface", ETHER / v4("10.10.0.1") / tcp(1), "interface", on="heads2")
heads("another interface", ETHER / v4("10.10.0.1") / tcp(1))

# A later fragment takes its first's verdict once that was seen: in a policy with rules that ask for ports.
def pieces(name, id, first, later, verdict, reason, rule, before=("drop", "default", "")):
    case(f"{name}: later before the first", ETHER / later(id), *before)
    case(f"{name}: first", ETHER / first(id), verdict, reason, rule)
    case(f"{name}: later", ETHER / later(id), verdict, reason, rule)
    case(f"{name}: again", ETHER / later(id), verdict, reason, rule)
    case(f"{name}: another datagram's", ETHER / later(id + 1), *before)
    case(f"{name}: in a VLAN", ETHER / Dot1Q(vlan=3) / later(id), *before)
later4 = lambda proto, source=OUT4: lambda id: v4(source, frag=100, proto=proto, id=id) / Raw(b"l" * 24)
later6 = lambda proto, source=OUT6: lambda id: v6(source) / IPv6ExtHdrFragment(nh=proto, offset=100, id=id) / Raw(b"l" * 24)
pieces("tcp pieces", 1000, lambda id: v4(flags="MF", id=id) / tcp(80), later4(6), "pass", "rule", "web")
pieces("udp pieces", 1010, lambda id: v4(flags="MF", id=id) / UDP(sport=5000, dport=6000, len=4000), later4(17), "pass", "rule", "high")
pieces("dropped pieces", 1020, lambda id: v4(flags="MF", id=id) / UDP(sport=5000, dport=53, len=4000), later4(17), "drop", "default", "")
pieces("tcp pieces 6", 0x12345678, lambda id: v6() / IPv6ExtHdrFragment(m=1, id=id) / tcp(443), later6(6), "pass", "rule", "web")
pieces("pieces by address", 1040, lambda id: v4(ADMIN4, flags="MF", id=id) / tcp(25), later4(6, ADMIN4), "pass", "rule", "admins", ("pass", "rule", "admins"))
case("pieces of another protocol", ETHER / later4(17)(1000), "drop", "default")
case("pieces from elsewhere", ETHER / later4(6, "192.0.2.8")(1000), "drop", "default")
heads("a rule for fragments, first", ETHER / v4("10.7.0.3", flags="MF", id=1050) / tcp(1), "fragment")
heads("a rule for fragments, later", ETHER / v4("10.7.0.3", frag=100, proto=6, id=1050) / Raw(b"l" * 8), "fragment")
heads("a rule for later fragments, first", ETHER / v4("10.7.0.2", flags="MF", id=1051) / tcp(1))
heads("a rule for later fragments goes before the first's verdict", ETHER / v4("10.7.0.2", frag=100, proto=6, id=1051) / Raw(b"l" * 8), "later")

# Rejected packets, and what scapy says that they must be answered with.
BACK = Ether(dst=ETHER.src, src=ETHER.dst)
NODE4, NODE6 = "192.0.2.1", "2001:db8::1"
def refused(name, packet, answer=None, on="refuse", **more):
    exits = [["tx", "rule", "refuse", "all"]] if answer is not None else [["drop", "unanswered", "refuse", "all"]]
    case(f"refuse: {name}", packet, exits[0][0], exits[0][1], on=on, exits=exits, parse=False, answer=answer, **more)
def reset(**k):
    return TCP(sport=22, dport=40000, window=0, **k)
def error4(quote, code=13, source=NODE4):
    raw = bytes(quote)[:548]
    return IP(src=source, dst=OUT4, tos=0xC0, id=0, flags="DF") / ICMP(type=3, code=code) / Raw(raw)
def error6_(quote, code=1, source=NODE6):
    raw = bytes(quote)[:1232]
    return IPv6(src=source, dst=OUT6, hlim=64) / ICMPv6DestUnreach(code=code) / Raw(raw)
rst4 = lambda **k: BACK / IP(src=ME4, dst=OUT4, id=0, flags="DF") / reset(**k)
rst6 = lambda **k: BACK / IPv6(src=ME6, dst=OUT6, hlim=64) / reset(**k)
refused("syn", ETHER / v4() / tcp(22, flags="S", seq=1000), rst4(flags="RA", seq=0, ack=1001))
refused("syn 6", ETHER / v6() / tcp(22, flags="S", seq=0xffffffff), rst6(flags="RA", seq=0, ack=0))
refused("syn with data and options", ETHER / v4() / tcp(22, flags="S", seq=5, options=[("MSS", 1460)]) / Raw(b"x" * 11), rst4(flags="RA", seq=0, ack=17))
refused("ack", ETHER / v4() / tcp(22, flags="A", seq=7, ack=0x89abcdef), rst4(flags="R", seq=0x89abcdef, ack=0))
refused("ack 6", ETHER / v6() / tcp(22, flags="PA", seq=7, ack=99) / Raw(b"y" * 301), rst6(flags="R", seq=99, ack=0))
refused("fin without ack", ETHER / v4() / tcp(22, flags="F", seq=7) / Raw(b"yy"), rst4(flags="RA", seq=0, ack=10))
refused("no flags", ETHER / v4() / tcp(22, flags="", seq=7) / Raw(b"yyy"), rst4(flags="RA", seq=0, ack=10))
refused("IP options", ETHER / v4(options=[IPOption_NOP()] * 12) / tcp(22, flags="S", seq=1), rst4(flags="RA", seq=0, ack=2))
refused("padding", Raw(bytes(ETHER / v4() / tcp(22, flags="S", seq=1)) + b"\0" * 6), rst4(flags="RA", seq=0, ack=2))
refused("reset", ETHER / v4() / tcp(22, flags="R"))
refused("reset 6", ETHER / v6() / tcp(22, flags="RA"))
tagged = lambda link: link / Dot1AD(vlan=5, prio=2) / Dot1Q(vlan=6)
refused("two tags", tagged(ETHER) / v4() / tcp(22, flags="S", seq=1), tagged(BACK) / rst4(flags="RA", seq=0, ack=2).payload)
refused("no Ethernet", v4() / tcp(22, flags="S", seq=1), rst4(flags="RA", seq=0, ack=2).payload, ethernet=False)
refused("large", ETHER / v4() / tcp(22, flags="S", seq=1) / Raw(b"x" * 8900), rst4(flags="RA", seq=0, ack=8902))
for linear in (14, 30, 54):
    refused(f"first piece of {linear}", ETHER / v4() / tcp(22, flags="S", seq=1) / Raw(b"x" * 500), rst4(flags="RA", seq=0, ack=502), linear=linear)
for size in (0, 1, 2, 15, 16, 17, 519, 520, 521, 1400):
    q = v4(id=3) / UDP(sport=5, dport=6) / Raw(bytes(range(256))[:size] * (1 if size < 256 else 8))
    q = IP(bytes(q)[:28 + size]); q.len = None; q[UDP].len = None; q.chksum = None; q[UDP].chksum = None
    refused(f"udp {size}", ETHER / q, BACK / error4(q, 3))
for size in (0, 3, 1183, 1184, 1185, 1400):
    q = v6() / UDP(sport=5, dport=6) / Raw((b"abcdefghijk" * 128)[:size])
    refused(f"udp 6 {size}", ETHER / q, BACK / error6_(q, 4))
ping, ping_6 = v4(id=4) / ICMP(id=1, seq=2) / Raw(b"ping" * 14), v6() / ICMPv6EchoRequest(id=1, seq=2, data=b"ping" * 14)
refused("ping", ETHER / ping, BACK / error4(ping))
refused("ping 6", ETHER / ping_6, BACK / error6_(ping_6))
refused("ping, no address", ETHER / ping, BACK / error4(ping, source=ME4), on="refuse2")
refused("ping 6, no address", ETHER / ping_6, BACK / error6_(ping_6, source=ME6), on="refuse2")
refused("ping, tagged", tagged(ETHER) / ping, tagged(BACK) / error4(ping))
refused("ping, no Ethernet", ping, error4(ping), ethernet=False)
refused("ping, in pieces", ETHER / ping, BACK / error4(ping), linear=20)
large = v4(id=4) / GRE() / Raw(b"g" * 8000)
refused("large, not TCP", ETHER / large, BACK / error4(large))
first = v4(id=90, flags="MF") / UDP(sport=5, dport=6, len=2000) / Raw(b"f" * 16)
refused("first fragment", ETHER / first, BACK / error4(first, 3))
refused("later fragment", ETHER / v4(id=90, frag=9, proto=17) / Raw(b"f" * 16))
extended = v6() / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / UDP(sport=5, dport=6) / Raw(b"ext")
refused("extensions", ETHER / extended, BACK / error6_(extended, 4))
for kind in (3, 4, 5, 11, 12):
    refused(f"ICMP error {kind}", ETHER / v4() / ICMP(type=kind) / Raw(b"x" * 28))
refused("ICMPv6 error", ETHER / v6() / ICMPv6PacketTooBig() / Raw(b"x" * 48))
refused("ICMPv6 redirect", ETHER / v6(nh=58) / Raw(b"\x89\0" + b"x" * 38))
refused("echo reply", ETHER / v4(id=5) / ICMP(type=0), BACK / error4(v4(id=5) / ICMP(type=0)))
refused("to a group of stations", Ether(dst="01:00:5e:00:00:01", src=ETHER.src) / v4() / UDP(sport=5, dport=6))
refused("to all stations", Ether(dst="ff:ff:ff:ff:ff:ff", src=ETHER.src) / v4() / UDP(sport=5, dport=6))
for bad in ("224.0.0.5", "255.255.255.255", "0.0.0.0", "127.0.0.1", "240.0.0.1"):
    refused(f"to {bad}", ETHER / IP(src=OUT4, dst=bad) / UDP(sport=5, dport=6))
    refused(f"from {bad}", ETHER / IP(src=bad, dst=ME4) / UDP(sport=5, dport=6))
for bad in ("ff02::1", "::", "::1"):
    refused(f"to {bad}", ETHER / IPv6(src=OUT6, dst=bad) / UDP(sport=5, dport=6))
    refused(f"from {bad}", ETHER / IPv6(src=bad, dst=ME6) / UDP(sport=5, dport=6))

# Below IP.
case("vlan", ETHER / Dot1Q(vlan=5, prio=3) / v4() / tcp(80), "pass", "rule", "web")
case("two tags", ETHER / Dot1AD(vlan=100) / Dot1Q(vlan=7) / v6() / tcp(80), "pass", "rule", "web")
case("three tags", ETHER / Dot1AD(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / v4() / tcp(25), "pass", "not-ip")
case("truncated tag", ETHER / Dot1Q(vlan=5) / v4(), "drop", "malformed", cut=22)
case("no Ethernet", v4() / tcp(80), "pass", "rule", "web", ethernet=False)
case("no Ethernet 6", v6() / tcp(25), "drop", "default", ethernet=False)
case("no Ethernet, neither", Raw(b"\x50" * 40), "pass", "not-ip", ethernet=False)
case("padding", ETHER / v4() / tcp(80) / Raw(b""), "pass", "rule", "web")
case("padding behind", Raw(bytes(ETHER / v4() / tcp(80)) + b"\0" * 6), "pass", "rule", "web")

# IPv4.
case("options", ETHER / v4(options=[IPOption_NOP()] * 40) / tcp(80), "pass", "rule", "web")
case("ihl 4", ETHER / v4() / tcp(80), "drop", "malformed", patch={14: 0x44})
case("version 5", ETHER / v4() / tcp(80), "drop", "malformed", patch={14: 0x55})
case("header beyond the total", ETHER / v4() / tcp(80), "drop", "malformed", patch={17: 19})
case("total beyond the frame", ETHER / v4() / tcp(80), "drop", "malformed", cut=1)
case("malformed passes", ETHER / v4() / tcp(80), "pass", "malformed", cut=1, on="lenient")
case("truncated header", ETHER / v4(), "drop", "malformed", cut=1)
case("tcp cut by the total", ETHER / v4(len=39) / tcp(80), "drop", "malformed")
case("tcp offset 4", ETHER / v4() / tcp(80, dataofs=4), "drop", "malformed")
case("tcp offset beyond", ETHER / v4() / tcp(80, dataofs=6), "drop", "malformed")
case("udp length beyond", ETHER / v4() / UDP(sport=5000, dport=6000, len=9), "drop", "malformed")
case("udp length 7", ETHER / v4() / UDP(sport=5000, dport=6000, len=7), "drop", "malformed")
case("udp length short of ip", ETHER / v4() / UDP(sport=5000, dport=6000, len=8) / Raw(b"xx"), "pass", "rule", "high")
case("icmp truncated", ETHER / v4(proto=1) / Raw(b"\x08\0\0\0\0\0\0"), "drop", "malformed")
case("first fragment", ETHER / v4(flags="MF") / tcp(80), "pass", "rule", "web")
case("first fragment of udp", ETHER / v4(flags="MF") / UDP(sport=5000, dport=6000, len=4000), "pass", "rule", "high")
case("later fragment of an unknown first has no ports", ETHER / v4(frag=185, proto=6, id=9) / Raw(bytes(tcp(80))), "drop", "default")
case("later fragment of a set", ETHER / v4(ADMIN4, frag=185, proto=6) / Raw(b"xy"), "pass", "rule", "admins")
case("tcp at offset 1", ETHER / v4(ADMIN4, frag=1, proto=6) / Raw(b"x" * 20), "drop", "malformed")
case("udp at offset 1", ETHER / v4(ADMIN4, frag=1, proto=17) / Raw(b"x" * 20), "drop", "malformed")
case("udp at offset 2", ETHER / v4(ADMIN4, frag=2, proto=17) / Raw(b"x" * 20), "pass", "rule", "admins")

# IPv6.
EXTENSIONS = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]) / IPv6ExtHdrRouting(addresses=[]) / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)])
case("extensions", ETHER / v6() / EXTENSIONS / tcp(443), "pass", "rule", "web")
case("ah", ETHER / v6(nh=51) / AH(nh=6, payloadlen=4, icv=b"\0" * 12) / tcp(443), "pass", "rule", "web", parse=False)
eight = v6()
for _ in range(8):
    eight = eight / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
case("eight extensions", ETHER / eight / tcp(443), "pass", "rule", "web")
case("nine extensions", ETHER / eight / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]) / tcp(443), "drop", "malformed")
case("first fragment 6", ETHER / v6() / IPv6ExtHdrFragment(m=1, id=7) / tcp(443), "pass", "rule", "web")
case("atomic fragment", ETHER / v6() / IPv6ExtHdrFragment(id=7) / tcp(443), "pass", "rule", "web")
case("later fragment 6", ETHER / v6() / IPv6ExtHdrFragment(nh=6, offset=100, m=1, id=9) / Raw(bytes(tcp(443))), "drop", "default")
case("tcp at offset 1, 6", ETHER / v6(ADMIN6) / IPv6ExtHdrFragment(nh=6, offset=1) / Raw(b"x" * 24), "drop", "malformed")
case("payload beyond", ETHER / v6(plen=21) / tcp(443), "drop", "malformed")
case("extension beyond", ETHER / v6(nh=60) / Raw(b"\x06\x01" + b"\0" * 6), "drop", "malformed")
case("payload length 0", ETHER / v6(plen=0) / tcp(443), "drop", "malformed")
case("mapped address on the wire", ETHER / v6("::ffff:203.0.113.5") / tcp(443), "drop", "malformed")
case("no next header", ETHER / v6(nh=59), "drop", "default")

# Large frames, in several pieces.
big = ETHER / v4() / tcp(80) / Raw(b"x" * (9000 - 54))
case("9,000 bytes", big, "pass", "rule", "web")
case("9,000 bytes, one missing", big, "drop", "malformed", cut=1)
case("9,000 bytes 6", ETHER / v6() / EXTENSIONS / UDP(sport=5000, dport=6000) / Raw(b"x" * 8850), "pass", "rule", "high")
for linear in (14, 15, 33, 34, 40, 53, 54):
    case(f"first piece of {linear} bytes", big, "pass", "rule", "web", linear=linear)
case("headers in pieces 6", ETHER / Dot1Q(vlan=9) / v6() / EXTENSIONS / tcp(443), "pass", "rule", "web", linear=16)

# A guarded port: real messages of a capture, scapy's own, and what only looks like them.
def guarded(name, packet, good=True, **more):
    case(f"wireguard: {name}", packet, "pass" if good else "drop", "no-policy" if good else "not-wireguard", on="tunnels", **more)
def to_port(payload, port=51820, v=v4, **more):
    return ETHER / v() / UDP(sport=40000, dport=port, **more) / payload
seen = set()
for packet in rdpcap(os.path.join(os.path.dirname(__file__), "../data/wireguard.pcap")):
    kind = (packet[UDP].dport, len(packet), bytes(packet[UDP].payload)[0])
    if kind not in seen:
        seen.add(kind)
        guarded(f"captured {kind}", packet)
assert {kind[2] for kind in seen} == {1, 2, 3, 4} and any(kind[1] == 1452 + 42 for kind in seen)
messages = [Wireguard(message_type=1) / WireguardInitiation(), Wireguard(message_type=2) / WireguardResponse(),
            Wireguard(message_type=3) / WireguardCookieReply(), Wireguard(message_type=4) / WireguardTransport(encrypted_encapsulated_packet=b"x" * 16)]
for number, message in enumerate(messages, 1):
    for v in (v4, v6):
        guarded(f"message {number}", to_port(message, v=v))
        guarded(f"message {number}, other port", to_port(message, 443, v))
        guarded(f"message {number}, cut", to_port(bytes(message)[:-1], v=v), False)
    guarded(f"message {number}, longer", to_port(bytes(message) + b"x"), number == 4)
    guarded(f"message {number}, tagged", Ether(bytes(ETHER)[:12] + b"\x81\x00\x00\x07\x08\x00") / v4() / UDP(dport=51820) / message)
    guarded(f"message {number}, reserved", to_port(bytes([number, 0, 0, 1]) + bytes(message)[4:]), False)
    guarded(f"message {number}, unguarded", to_port(bytes(message)[:-1], 51821))
    guarded(f"message {number}, padded beyond UDP's length", to_port(bytes(message) + b"x" * 4, len=8 + len(message)))
guarded("type 0", to_port(bytes(32)), False)
guarded("type 5", to_port(b"\x05" + bytes(147)), False)
guarded("nothing", to_port(b""), False)
guarded("three bytes", to_port(b"\x04\0\0"), False)
guarded("the bulk of MTU 1420", to_port(b"\x04" + bytes(1451)))
guarded("TCP", ETHER / v4() / TCP(dport=51820) / Raw(bytes(32)))
guarded("first fragment", ETHER / v4(flags="MF", id=9) / UDP(sport=1, dport=51820, len=1460) / Raw(b"\x04" + bytes(599)))
guarded("first fragment of nonsense", ETHER / v4(flags="MF", id=9) / UDP(sport=1, dport=51820, len=1460) / Raw(bytes(600)), False)
guarded("later fragment", ETHER / v4(frag=75, id=9, proto=17) / Raw(bytes(860)))
guarded("behind extension headers", ETHER / v6() / IPv6ExtHdrDestOpt() / UDP(dport=51820) / messages[3])
guarded("in pieces", to_port(messages[0]), linear=40)
