#!/usr/bin/python3
"""SYNs, the SYN-ACKs that must answer them, and ACKs that bring the cookie back: one JSON object a line.

The cookie is computed here by the definition in features/syn_proxy/cookie.bpf.h, frames are built by scapy.
"""
import json
import struct

from scapy.all import IP, TCP, Dot1Q, Ether, IPv6, IPv6ExtHdrDestOpt, PadN, Raw, raw

MASK = (1 << 64) - 1
KEY = bytes(range(16))
LEVEL_NOW = 5 * (1 << 36) + 12_345_678_901  # ns; an odd unit of time, so that the cookie's highest bit is set
WINDOW, SCALE, MSS4, MSS6 = 64240, 7, 1460, 1440
SIZES = {4: (536, 1300, 1440, 1460), 6: (1220, 1380, 1420, 1440)}


def siphash(key, message):
    """SipHash-2-4, as its paper has it."""
    def turn(v, b):
        return (v << b | v >> 64 - b) & MASK

    def rounds(n):
        nonlocal v0, v1, v2, v3
        for _ in range(n):
            v0 = (v0 + v1) & MASK
            v1 = turn(v1, 13) ^ v0
            v0 = turn(v0, 32)
            v2 = (v2 + v3) & MASK
            v3 = turn(v3, 16) ^ v2
            v0 = (v0 + v3) & MASK
            v3 = turn(v3, 21) ^ v0
            v2 = (v2 + v1) & MASK
            v1 = turn(v1, 17) ^ v2
            v2 = turn(v2, 32)

    k0, k1 = struct.unpack("<QQ", key)
    v0, v1, v2, v3 = k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573
    whole = len(message) // 8 * 8
    tail = message[whole:] + bytes(7 - (len(message) - whole)) + bytes([len(message) & 255])
    for at in range(0, whole + 8, 8):
        word = struct.unpack("<Q", (message[:whole] + tail)[at:at + 8])[0]
        v3 ^= word
        rounds(2)
        v0 ^= word
    v2 ^= 255
    rounds(4)
    return v0 ^ v1 ^ v2 ^ v3


assert siphash(KEY, bytes(range(15))) == 0xa129ca6149be45e5  # the paper's test vector


def cookie_of(ip, tcp, now, mss):
    version = ip.version
    size = max((i for i in range(1, 4) if mss >= SIZES[version][i]), default=0)
    time = now >> 36 & 0xffffffff
    source, destination = raw(ip)[12:16] if version == 4 else raw(ip)[8:24], raw(ip)[16:20] if version == 4 else raw(ip)[24:40]
    words = [source + destination] if version == 4 else [source[:8], source[8:], destination[:8], destination[8:]]
    message = b"".join(struct.pack("<Q", int.from_bytes(w, "big")) for w in words)
    message += struct.pack("<Q", tcp.sport << 48 | tcp.dport << 32 | tcp.seq) + struct.pack("<I", (time << 2 | size) & 0xffffffff)
    return (time & 1) << 31 | size << 29 | siphash(KEY, message) & 0x1fffffff


def option(options, name):
    return next((value for kind, value in options if kind == name), None)


def answer(link, ip, tcp, now):
    options = tcp.options
    mss, stamp, scale = option(options, "MSS"), option(options, "Timestamp"), option(options, "WScale")
    sack = any(kind == "SAckOK" for kind, _ in options)
    out = []
    if mss:
        out.append(("MSS", MSS4 if ip.version == 4 else MSS6))
    if stamp:
        value = (now >> 20) & 0xffffffff & ~511 | (15 if scale is None else min(scale, 14)) | (16 if sack else 0) | SCALE << 5
        out += [("SAckOK", b"")] if sack else [("NOP", None), ("NOP", None)]
        out.append(("Timestamp", (value, stamp[0])))
        if scale is not None:
            out += [("NOP", None), ("WScale", SCALE)]
    back = IP(src=ip.dst, dst=ip.src, id=0, flags="DF", ttl=64) if ip.version == 4 else IPv6(src=ip.dst, dst=ip.src, hlim=64)
    reply = TCP(sport=tcp.dport, dport=tcp.sport, seq=cookie_of(ip, tcp, now, mss or 0), ack=(tcp.seq + 1) & 0xffffffff,
                flags="SA", window=WINDOW, options=out)
    frame = back / reply
    if link is not None:
        for tag in reversed([l for l in link.iterpayloads() if isinstance(l, Dot1Q)]):
            frame = Dot1Q(vlan=tag.vlan, prio=tag.prio) / frame
        frame = Ether(src=link.dst, dst=link.src) / frame
    return frame


ETHER = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
IP4 = IP(src="192.0.2.7", dst="198.51.100.9")
IP6 = IPv6(src="2001:db8::7", dst="2001:db8:1::9")
LINUX = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (0x11223344, 0)), ("NOP", None), ("WScale", 9)]


def emit(name, link, ip, tcp, payload=b"", answered=True, verdict=None):
    # scapy fills in what is derived (lengths, sums) when the frame is built, so it is read back.
    frame = (link / ip / tcp if link is not None else ip / tcp) / Raw(payload) if payload else (link / ip / tcp if link is not None else ip / tcp)
    inner = type(ip)(raw(ip / tcp))
    out = {"name": name, "hex": raw(frame).hex(), "ethernet": link is not None, "now": LEVEL_NOW,
           "verdict": verdict or ("tx" if answered else "drop"), "answer": ""}
    if answered:
        out["answer"] = raw(answer(link, inner, inner[TCP], LEVEL_NOW)).hex()
        reply = (Ether if link is not None else type(ip))(bytes.fromhex(out["answer"]))[TCP]
        echo = option(reply.options, "Timestamp")
        options = [("NOP", None), ("NOP", None), ("Timestamp", (0x11223399, echo[0]))] if echo else []
        ack = TCP(sport=tcp.sport, dport=tcp.dport, seq=reply.ack, ack=(reply.seq + 1) & 0xffffffff, flags="A", options=options)
        plain = ETHER / ip  # the host has taken the tags off
        out["ack"] = raw(plain / ack).hex()
        wrong = ack.copy()
        wrong.ack = (reply.seq + 2) & 0xffffffff
        out["wrong"] = [raw(plain / wrong).hex()]
        wrong = ack.copy()
        wrong.seq = (ack.seq + 1) & 0xffffffff
        out["wrong"].append(raw(plain / wrong).hex())
        wrong = ack.copy()
        wrong.sport = tcp.sport ^ 1
        out["wrong"].append(raw(plain / wrong).hex())
        wrong = ack.copy()
        wrong.flags = "RA"
        out["wrong"].append(raw(plain / wrong).hex())
        wrong = ack.copy()
        wrong.dport = 81
        out["wrong"].append(raw(plain / wrong).hex())
    print(json.dumps(out))


def syn(options, **more):
    fields = dict(sport=40000, dport=80, seq=0xdeadbeef, flags="S", options=options)
    fields.update(more)
    return TCP(**fields)


for family, ip in (("IPv4", IP4), ("IPv6", IP6)):
    emit(f"{family}, options as Linux sends them", ETHER, ip, syn(LINUX))
    emit(f"{family}, no options", ETHER, ip, syn([]))
    for mss in (88, 535, 536, 1219, 1220, 1299, 1300, 1380, 1420, 1439, 1440, 1460, 8960):
        emit(f"{family}, MSS {mss}", ETHER, ip, syn([("MSS", mss)]))
    emit(f"{family}, scale and SACK without timestamps are lost", ETHER, ip, syn([("MSS", 1400), ("NOP", None), ("WScale", 7), ("NOP", None), ("NOP", None), ("SAckOK", b"")]))
    emit(f"{family}, timestamps alone", ETHER, ip, syn([("NOP", None), ("NOP", None), ("Timestamp", (1, 0))]))
    emit(f"{family}, timestamps and a scale of 0", ETHER, ip, syn([("MSS", 1460), ("NOP", None), ("NOP", None), ("Timestamp", (0xffffffff, 0)), ("NOP", None), ("WScale", 0)]))
    emit(f"{family}, a scale beyond what there is", ETHER, ip, syn([("MSS", 1460), ("WScale", 15), ("NOP", None), ("SAckOK", b""), ("Timestamp", (7, 0))]))
    emit(f"{family}, timestamps without MSS", ETHER, ip, syn([("SAckOK", b""), ("Timestamp", (7, 0)), ("NOP", None), ("WScale", 3)]))
    emit(f"{family}, data in the SYN is left out", ETHER, ip, syn(LINUX), payload=b"GET / HTTP/1.0\r\n\r\n" * 20)
    emit(f"{family}, congestion bits ask in vain", ETHER, ip, syn(LINUX, flags="SEC"))
    emit(f"{family}, behind a tag", ETHER / Dot1Q(vlan=7, prio=3), ip, syn(LINUX))
    emit(f"{family}, without Ethernet", None, ip, syn(LINUX))
    emit(f"{family}, the sequence number wraps", ETHER, ip, syn(LINUX, seq=0xffffffff))
    emit(f"{family}, behind two tags", ETHER / Dot1Q(vlan=7) / Dot1Q(vlan=8), ip, syn(LINUX), answered=False)
    emit(f"{family}, to a group's link address", Ether(dst="33:33:00:00:00:01", src=ETHER.src), ip, syn(LINUX), answered=False)
    emit(f"{family}, another port", ETHER, ip, syn(LINUX, dport=81), answered=False, verdict="pass")
    emit(f"{family}, a SYN-ACK", ETHER, ip, syn(LINUX, flags="SA"), answered=False, verdict="pass")
    emit(f"{family}, an ACK", ETHER, ip, syn([], flags="A"), answered=False, verdict="pass")
emit("IPv4, the end of options in the middle", ETHER, IP4, TCP(raw(syn([("MSS", 1460), ("EOL", None), ("EOL", None)]))))
emit("IPv4, first fragment", ETHER, IP(src=IP4.src, dst=IP4.dst, flags="MF"), syn(LINUX), answered=False)
emit("IPv4, from a group", ETHER, IP(src="224.0.0.1", dst=IP4.dst), syn(LINUX), answered=False)
emit("IPv6, extension header", ETHER, IP6 / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]), syn(LINUX), answered=False)
