"""Random frames of TCP, UDP, ICMP and others, IPv4 and IPv6, with correct lengths and checksums, aimed at small pools
of addresses and ports so that rules made from the same pools meet them.  Each carries its number: in the IPv4
identification, or in the IPv6 flow label."""
import random
import socket
import struct

# Where packets come from.  The node's own addresses are in NODE*, what it forwards to in BEHIND*.
SOURCES4 = ["10.1.0.1", "10.1.0.2", "10.1.0.77", "10.1.1.1", "10.2.3.4", "172.16.5.6", "192.0.2.7", "198.51.100.9", "203.0.113.200"]
SOURCES6 = ["2001:db8:1::1", "2001:db8:1::2", "2001:db8:1:1::7", "2001:db8:2::9", "2001:db8:ff::1", "fd00::5", "fe80::77"]
NODE4, NODE6 = ["10.9.0.1", "10.9.0.2", "10.9.0.9"], ["2001:db8:9::1", "2001:db8:9::2", "2001:db8:9::9"]
BEHIND4, BEHIND6 = ["10.8.0.5", "10.8.0.6", "10.8.1.7"], ["2001:db8:8::5", "2001:db8:8::6", "2001:db8:8:1::7"]
PREFIXES4 = ["10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/24", "10.1.0.0/30", "172.16.0.0/12", "192.0.2.0/24", "198.51.100.9/32", "203.0.113.128/25", "10.9.0.0/29", "10.8.0.0/24", "0.0.0.0/1"]
PREFIXES6 = ["2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::/64", "2001:db8:2::9/128", "fd00::/8", "fe80::/10", "2001:db8:9::/126", "2001:db8:8::/64", "::/1"]
PORTS = [1, 22, 25, 53, 80, 81, 443, 1023, 1024, 5000, 8080, 33434, 65535]
FLAGS = [2, 18, 16, 17, 4, 20, 1, 0, 3, 24, 41, 63, 255, 194, 66]
ICMP4 = [(8, 0), (0, 0), (3, 3), (3, 1), (3, 4), (11, 0), (12, 0), (13, 0), (9, 0)]
ICMP6 = [(128, 0), (129, 0), (1, 4), (1, 0), (2, 0), (3, 0), (4, 1), (133, 0), (135, 0), (136, 0)]
OTHER = [47, 50, 89, 132]
MACS = ["02:00:00:00:01:01", "02:00:00:00:01:02", "02:00:00:00:01:03"]
TTLS = [2, 5, 63, 64, 128, 254, 255]
DSCPS = [0, 8, 10, 46, 63]


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Maker:
    def __init__(self, seed, device_macs, behind=False):
        self.random = random.Random(seed)
        self.device_macs = device_macs
        self.destinations = {4: BEHIND4 if behind else NODE4, 6: BEHIND6 if behind else NODE6}

    def transport(self, version, pseudo):
        pick = self.random.choice
        payload = bytes(pick([0, 0, 1, 60, 90, 400]))
        kind = pick(["tcp"] * 6 + ["udp"] * 4 + ["icmp"] * 3 + ["other"])
        if kind == "tcp":
            head = struct.pack(">HHIIBBHHH", pick(PORTS), pick(PORTS), 1, 0, 0x50, pick(FLAGS), 1000, 0, 0)
            number, at = 6, 16
        elif kind == "udp":
            head = struct.pack(">HHHH", pick(PORTS), pick(PORTS), 8 + len(payload), 0)
            number, at = 17, 6
        elif kind == "icmp":
            kind, code = pick(ICMP4 if version == 4 else ICMP6)
            head = struct.pack(">BBHI", kind, code, 0, 0)
            payload += bytes(40)  # room for what the kernel reads of errors and neighbour discovery
            number, at = (1 if version == 4 else 58), 2
        else:
            return pick(OTHER), bytes(24) + payload
        sum_over = head + payload
        if number != 1:
            sum_over = pseudo(number, len(sum_over)) + sum_over
        value = checksum(sum_over)
        if number == 17 and not value:
            value = 0xffff
        return number, head[:at] + struct.pack(">H", value) + head[at + 2:] + payload

    def frame(self, number, device):
        """`number` counts from 1."""
        pick = self.random.choice
        version = pick([4, 6])
        source = pick(SOURCES4 if version == 4 else SOURCES6)
        destination = pick(self.destinations[version])
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        ends = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
        ttl, dscp = pick(TTLS), pick(DSCPS)
        pseudo = (lambda proto, size: ends + struct.pack(">BBH", 0, proto, size)) if version == 4 else (lambda proto, size: ends + struct.pack(">II", size, proto))
        proto, body = self.transport(version, pseudo)
        if version == 4:
            head = struct.pack(">BBHHHBBH", 0x45, dscp << 2, 20 + len(body), number, 0, ttl, proto, 0) + ends
            packet = head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body
        else:
            packet = struct.pack(">IHBB", 6 << 28 | dscp << 22 | number, len(body), proto, ttl) + ends + body
        ether = bytes.fromhex(self.device_macs[device].replace(":", "") + pick(MACS).replace(":", "")) + (b"\x08\x00" if version == 4 else b"\x86\xdd")
        return version, ether + packet


def write_pcap(path, frames):
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for frame in frames:
            file.write(struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame)
