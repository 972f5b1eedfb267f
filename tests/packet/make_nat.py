#!/usr/bin/python3
"""Packets through services with address translation, and what must leave: one JSON object a line.

Each scene is a file, and frames in their order on empty state.  What leaves is built anew by scapy, checksums and all.  The
ports of this node that translated sources get are the program's choice: the first argument, JSON, says them by flow; where
one is missing, the test learns it from the frame that `learns` it.
"""
import json
import sys

from scapy.all import (ICMP, IP, TCP, UDP, Dot1Q, Ether, ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPOption, IPv6,
                       IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, PadN, Raw, raw)

OWN_PORTS = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
CLIENT_MAC, NODE_MAC, NEXT_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:fe"
CLIENT, FRONTEND, BACKEND, OWN = {4: "192.0.2.7", 6: "2001:db8:9::7"}, {4: "198.51.100.10", 6: "2001:db8::10"}, {4: "10.0.1.11", 6: "2001:db8:1::11"}, {4: "192.0.0.8", 6: "100::8"}
ROUTER = {4: "203.0.113.1", 6: "2001:db8:77::1"}
PORT, TO = 443, 8443
OPTIONS = {4: lambda: [IPOption(b"\x94\x04\x00\x00")], 6: lambda: IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])}


def finish(packet, upper):
    """Fills in an ICMPv6 checksum etc. by building; a copy that knows its bytes only."""
    return raw(packet / upper)


def link(tags, to_node):
    head = Ether(src=CLIENT_MAC, dst=NODE_MAC) if to_node else Ether(src=NODE_MAC, dst=NEXT_MAC)
    for tag in tags:
        head = head / Dot1Q(vlan=tag)
    return head


def ip(v, source, destination, life=64, options=False, df=True, **more):
    if v == 4:
        return IP(src=source, dst=destination, ttl=life, id=4711, tos=0x2a, flags="DF" if df else 0, options=OPTIONS[4]() if options else [], **more)
    head = IPv6(src=source, dst=destination, hlim=life, tc=0x2a, fl=0x12345, **more)
    return head / OPTIONS[6]() if options else head


def l4(proto, sport, dport, payload, zero=False, flags="A", seq=7):
    if proto == "tcp":
        return TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=9) / Raw(payload)
    return UDP(sport=sport, dport=dport, **({"chksum": 0} if zero else {})) / Raw(payload)


def frame(name, packet, out=None, verdict="redirect", reason="balanced", **more):
    line = {"name": name, "in": raw(packet).hex(), "verdict": verdict, "reason": reason}
    if out is not None:
        line["out"] = raw(out).hex()
    line.update(more)
    return line


def scene(name, services, frames, flows="{ entries: 1024 }"):
    text = "version: 1\ninterfaces: { wan: { match: eth0 } }\nflows: " + flows + "\nservices:\n" + services
    print(json.dumps({"name": name, "file": text, "frames": frames}))


def service(v, proto, full, name="s", frontends=None, backend=None, extra="", backend_extra=f", port: {TO}"):
    frontends = frontends or [f"{FRONTEND[4]}:{PORT}/{proto}" if v == 4 else f"[{FRONTEND[6]}]:{PORT}/{proto}"]
    quoted = ", ".join(f'"{f}"' for f in frontends)
    return f"""  {name}:
    frontend: [{quoted}]
    mode: nat
    source-nat: {"yes" if full else "no"}
{extra}    backends: {{ b1: {{ address: "{backend or BACKEND[v]}"{backend_extra} }} }}
"""


def error(v, kind, source, destination, quote, life=64, df=True):
    """An ICMP error that quotes these bytes."""
    if v == 4:
        what = {"port": ICMP(type=3, code=3), "big": ICMP(type=3, code=4, nexthopmtu=1300), "life": ICMP(type=11, code=0)}[kind]
    else:
        what = {"port": ICMPv6DestUnreach(code=4), "big": ICMPv6PacketTooBig(mtu=1300), "life": ICMPv6TimeExceeded(code=0)}[kind]
    return ip(v, source, destination, life, df=df) / what / Raw(quote)


def combination(v, proto, full, tags, options):
    name = f"v{v} {proto} {'full' if full else 'plain'} tags {len(tags)}{' options' if options else ''}"
    port = OWN_PORTS.get(name, 0)
    client, own = (CLIENT[v], 40001), (OWN[v], port) if full else (CLIENT[v], 40001)
    front, back = (FRONTEND[v], PORT), (BACKEND[v], TO)

    def packet(source, destination, payload, life=64, **more):
        return ip(v, source[0], destination[0], life, options) / l4(proto, source[1], destination[1], payload, **more)

    def there(what, payload, **more):
        return frame(name + " " + what, link(tags, True) / packet(client, front, payload, **more), link(tags, False) / packet(own, back, payload, life=63, **more))

    def back_again(what, payload, **more):
        return frame(name + " " + what, link(tags, True) / packet(back, own, payload, **more), link(tags, False) / packet(front, client, payload, life=63, **more), reason="translated")

    frames = [there("opens", b"", flags="S"), back_again("answers", b"", flags="SA"), there("data", b"odd"), back_again("data back", b"even" * 100)]
    if full:
        frames[0]["learns"] = name
        frames[0]["at"] = 14 + 4 * len(tags) + (20 if v == 4 else 40) + ((4 if v == 4 else 8) if options else 0)
    if proto == "udp" and v == 4:
        frames += [there("no checksum", b"abc", zero=True), back_again("no checksum back", b"abcd", zero=True)]
    if proto == "udp":
        # Such a payload that the checksum of what leaves is computed to 0 and sent as 0xffff.
        for where, (a, b, make) in enumerate([(own, back, there), (front, client, back_again)]):
            probe = packet(a, b, b"\0\0", life=63)
            sum0 = int.from_bytes(raw(probe)[-4:-2], "big")
            frames.append(make(f"computed zero {where}", sum0.to_bytes(2, "big")))
    # ICMP errors about what was sent: from the way to the client about a reply, from the way to the backend about a request.
    for cut in (8, 20, 60):
        for kind in ("port", "big", "life"):
            outside = raw(packet(front, client, b"x" * 40))
            inside = raw(packet(back, own, b"x" * 40))
            head = len(outside) - len(raw(l4(proto, 1, 2, b"x" * 40)))
            frames.append(frame(f"{name} error {kind} from outside, {cut} bytes",
                                link(tags, True) / error(v, kind, ROUTER[v], FRONTEND[v], outside[:head + cut]),
                                link(tags, False) / error(v, kind, OWN[v] if full else ROUTER[v], BACKEND[v], inside[:head + cut], 63)))
            outside, inside = raw(packet(client, front, b"x" * 40)), raw(packet(own, back, b"x" * 40))
            frames.append(frame(f"{name} error {kind} from inside, {cut} bytes",
                                link(tags, True) / error(v, kind, BACKEND[v] if kind == "port" else "10.0.1.1" if v == 4 else "2001:db8:1::1", own[0], inside[:head + cut]),
                                link(tags, False) / error(v, kind, FRONTEND[v], CLIENT[v], outside[:head + cut], 63), reason="translated"))
    if proto == "udp" and v == 4:
        outside, inside = (raw(packet(a, b, b"x" * 40, zero=True)) for a, b in ((front, client), (back, own)))
        frames.append(frame(name + " error quotes no checksum", link(tags, True) / error(v, "port", ROUTER[v], FRONTEND[v], outside),
                            link(tags, False) / error(v, "port", OWN[v] if full else ROUTER[v], BACKEND[v], inside, 63)))
    stray = packet((BACKEND[v], TO), (CLIENT[v], 5), b"stray")
    frames.append(frame(name + " of no connection", link(tags, True) / stray, link(tags, True) / stray, verdict="pass", reason="no-policy"))
    stray = error(v, "port", BACKEND[v], CLIENT[v], raw(packet((CLIENT[v], 5), back, b"x" * 40)))
    frames.append(frame(name + " error of no connection", link(tags, True) / stray, link(tags, True) / stray, verdict="pass", reason="no-policy"))
    scene(name, service(v, proto, full), frames)


def padding():
    client, front, back = (CLIENT[4], 40001), (FRONTEND[4], PORT), (BACKEND[4], TO)
    there, left = (link([], way) / ip(4, a[0], b[0], life) / l4("tcp", a[1], b[1], b"") for way, a, b, life in ((True, client, front, 64), (False, client, back, 63)))
    scene("padding", service(4, "tcp", False), [frame("padded", Raw(raw(there) + b"\xee" * 6), left)])


def fragments(v, full):
    name = f"fragments v{v} {'full' if full else 'plain'}"
    own = (OWN[v], OWN_PORTS.get(name, 0)) if full else (CLIENT[v], 40001)
    client, front, back = (CLIENT[v], 40001), (FRONTEND[v], PORT), (BACKEND[v], TO)

    def parts(way, source, destination, life):
        whole = ip(v, source[0], destination[0]) / UDP(sport=source[1], dport=destination[1]) / Raw(bytes(range(200)))
        body = raw(whole)[20 if v == 4 else 40:]
        out = []
        for offset, size in ((0, 64), (64, 64), (128, 80)):
            if v == 4:
                head = IP(src=source[0], dst=destination[0], ttl=life, id=99, flags="MF" if offset < 128 else 0, frag=offset // 8, proto=17)
            else:
                head = IPv6(src=source[0], dst=destination[0], hlim=life) / IPv6ExtHdrFragment(offset=offset // 8, m=int(offset < 128), id=99, nh=17)
            out.append(link([], way) / head / Raw(body[offset:offset + size]))
        return out

    frames = [frame(f"{name} there {i}", a, b) for i, (a, b) in enumerate(zip(parts(True, client, front, 64), parts(False, own, back, 63)))]
    if full:
        frames[0]["learns"], frames[0]["at"] = name, 14 + (20 if v == 4 else 48)
    frames += [frame(f"{name} back {i}", a, b, reason="translated") for i, (a, b) in enumerate(zip(parts(True, back, own, 64), parts(False, front, client, 63)))]
    late = parts(True, back, own, 64)[1]
    frames.append(frame(name + " later, after its time", late, late, verdict="pass" if not full else "pass", reason="no-policy", wait=5))
    scene(name, service(v, "udp", full), frames)


def life(v, full):
    name = f"life v{v} {'full' if full else 'plain'}"
    own = (OWN[v], OWN_PORTS.get(name, 0)) if full else (CLIENT[v], 40001)
    client, front, back = (CLIENT[v], 40001), (FRONTEND[v], PORT), (BACKEND[v], TO)
    opens = lambda life, way, a, b: link([], way) / ip(v, a[0], b[0], life) / l4("tcp", a[1], b[1], b"", flags="S")
    frames = [frame(name + " opens", opens(2, True, client, front), opens(1, False, own, back))]
    if full:
        frames[0]["learns"], frames[0]["at"] = name, 14 + (20 if v == 4 else 40)

    def expired(a, b):
        late = ip(v, a[0], b[0], 1) / l4("tcp", a[1], b[1], b"late")
        kind = ICMP(type=11, code=0) if v == 4 else ICMPv6TimeExceeded(code=0)
        head = IP(src=b[0], dst=a[0], ttl=64, id=0, flags="DF", tos=0xc0) if v == 4 else IPv6(src=b[0], dst=a[0], hlim=64)
        return link([], True) / late, Ether(src=NODE_MAC, dst=CLIENT_MAC) / head / kind / Raw(raw(late))

    for where, (a, b) in (("there", (client, front)), ("back", (back, own))):
        arrives, answer = expired(a, b)
        frames.append(frame(f"{name} ends {where}", arrives, answer, verdict="tx", reason="expired"))
    scene(name, service(v, "tcp", full), frames)


def too_big():
    client, front, back = (CLIENT[4], 40001), (FRONTEND[4], PORT), (BACKEND[4], TO)
    big = ip(4, client[0], front[0]) / l4("tcp", client[1], front[1], b"x" * 1000)
    quote = raw(big)[:576 - 28]
    answer = Ether(src=NODE_MAC, dst=CLIENT_MAC) / IP(src=front[0], dst=client[0], ttl=64, id=0, flags="DF", tos=0xc0) / ICMP(type=3, code=4, nexthopmtu=900) / Raw(quote)
    cut, left = (link([], way) / ip(4, a[0], b[0], hops, df=False) / l4("tcp", a[1], b[1], b"x" * 1000) for way, a, b, hops in ((True, client, front, 64), (False, client, back, 63)))
    scene("too big", service(4, "tcp", False, backend_extra=f", port: {TO}, path-mtu: 900"),
          [frame("too big", link([], True) / big, answer, verdict="tx", reason="too-big"), frame("may be cut on its way", cut, left)])


def ports_of_a_range():
    frames, low, high = [], (CLIENT[4], 40001), (FRONTEND[4], 8050)
    for what, way, arrives, leaves, reason in (("there", None, (low, high), (low, (BACKEND[4], 8050)), "balanced"), ("back", None, ((BACKEND[4], 8050), low), (high, low), "translated")):
        frames.append(frame("range " + what, *(link([], into) / ip(4, a[0], b[0], hops) / l4("tcp", a[1], b[1], b"r") for into, (a, b), hops in ((True, arrives, 64), (False, leaves, 63))), reason=reason))
    other = link([], True) / ip(4, BACKEND[4], CLIENT[4]) / l4("tcp", 9000, 40001, b"r")
    frames.append(frame("no port of it", other, other, verdict="pass", reason="no-policy"))
    scene("range", service(4, "tcp", False, frontends=[f"{FRONTEND[4]}:8000-8100/tcp"], backend_extra=""), frames)


def frontends_of_one_backend():
    """Two frontends that lead to one port: a reply gets the one that its client spoke to; all ports of a third lead there, too."""
    other, third, frames = "198.51.100.11", "198.51.100.12", []
    for client, front, back in (((CLIENT[4], 1000), (FRONTEND[4], PORT), (BACKEND[4], TO)), ((CLIENT[4], 1001), (other, PORT), (BACKEND[4], TO)), ((CLIENT[4], 1002), (third, TO), (BACKEND[4], TO)),
                                ((CLIENT[4], 1003), (third, 77), (BACKEND[4], 77))):
        for what, arrives, leaves, reason in (("there", (client, front), (client, back), "balanced"), ("back", (back, client), (front, client), "translated")):
            frames.append(frame(f"{front[0]} {what}", *(link([], into) / ip(4, a[0], b[0], hops) / l4("tcp", a[1], b[1], b"r") for into, (a, b), hops in ((True, arrives, 64), (False, leaves, 63))), reason=reason))
    scene("frontends", service(4, "tcp", False, frontends=[f"{FRONTEND[4]}:{PORT}/tcp", f"{other}:{PORT}/tcp"]) + service(4, "tcp", False, name="all", frontends=[f"{third}/tcp"], backend_extra=""), frames)


def idle():
    client, front, back = (CLIENT[4], 40001), (FRONTEND[4], PORT), (BACKEND[4], TO)
    make = lambda way, a, b, hops: link([], way) / ip(4, a[0], b[0], hops) / l4("udp", a[1], b[1], b"i")
    late = make(True, back, client, 64)
    scene("idle", service(4, "udp", False), [frame("opens", make(True, client, front, 64), make(False, client, back, 63)),
                                             frame("in time", late, make(False, front, client, 63), reason="translated", wait=100),
                                             frame("in time again", late, make(False, front, client, 63), reason="translated", wait=100),
                                             frame("too late", late, late, verdict="pass", reason="no-policy", wait=125)])


def own_address():
    """The node's own address with all ports as frontend, and a translated source that is the same address."""
    name = "own address"
    own = (OWN[4], OWN_PORTS.get(name, 0))
    client, front, back = (CLIENT[4], 40001), (OWN[4], PORT), (BACKEND[4], PORT)
    make = lambda way, a, b, hops: link([], way) / ip(4, a[0], b[0], hops) / l4("tcp", a[1], b[1], b"o", flags="A")
    scene(name, service(4, "tcp", True, frontends=[f"{OWN[4]}/tcp"], backend_extra=""),
          [frame("opens", make(True, client, front, 64), make(False, own, back, 63), learns=name, at=34), frame("answers", make(True, back, own, 64), make(False, front, client, 63), reason="translated")])


def local():
    packet = link([], True) / ip(4, CLIENT[4], FRONTEND[4]) / l4("tcp", 40001, PORT, b"l")
    scene("local", service(4, "tcp", False, backend="local", backend_extra=""), [frame("local", packet, packet, verdict="pass", reason="balanced-up")])


for v in (4, 6):
    for full in (False, True):
        for proto in ("tcp", "udp"):
            for tags in ([], [7], [8, 9]):
                combination(v, proto, full, tags, False)
            combination(v, proto, full, [], True)
        fragments(v, full)
        life(v, full)
padding()
too_big()
ports_of_a_range()
frontends_of_one_backend()
idle()
own_address()
local()
