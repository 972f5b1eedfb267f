#!/usr/bin/python3
"""Makes tests/unit/packets.def: what scapy says the packets of packet_text_test.cpp look like on the wire.

Run it again when a case is added:  /usr/bin/python3 tests/unit/packets.py > tests/unit/packets.def
"""
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA,
                                ICMPv6ND_RS, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, PadN)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

ONE, TWO = "02:00:00:00:00:01", "02:00:00:00:00:02"
ETHER = Ether(src=ONE, dst=TWO)


def tcp(sport, dport, flags):
    return TCP(sport=sport, dport=dport, flags=flags, seq=0, ack=0, window=8192)


CASES = [
    ("tcp 192.0.2.7:4000 > 198.51.100.10:443 syn",
     ETHER / IP(src="192.0.2.7", dst="198.51.100.10", id=0) / tcp(4000, 443, "S")),
    ("tcp 192.0.2.7:4000 > 198.51.100.10:443 syn ack length 5 ttl 9 dscp 46 ecn 1 id 0x1234",
     ETHER / IP(src="192.0.2.7", dst="198.51.100.10", id=0x1234, ttl=9, tos=46 << 2 | 1) / tcp(4000, 443, "SA") / Raw(bytes(5))),
    ("tcp 1.2.3.4:1 > 5.6.7.8:65535 fin rst psh urg ece cwr",
     ETHER / IP(src="1.2.3.4", dst="5.6.7.8", id=0) / tcp(1, 65535, "FRPUEC")),
    ("udp 192.0.2.1:53 > 192.0.2.2:4000 payload 48656c6c6f",
     ETHER / IP(src="192.0.2.1", dst="192.0.2.2", id=0) / UDP(sport=53, dport=4000) / Raw(b"Hello")),
    ("udp [2001:db8::1]:53 > [2001:db8::2]:4000 length 200 ttl 3",
     ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=3) / UDP(sport=53, dport=4000) / Raw(bytes(200))),
    ("tcp [2001:db8::1]:1024 > [2001:db8::2]:22 syn dscp 10",
     ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", tc=40) / tcp(1024, 22, "S")),
    ("icmp 1.2.3.4 > 5.6.7.8 echo-request",
     ETHER / IP(src="1.2.3.4", dst="5.6.7.8", id=0) / ICMP(type=8, id=0, seq=0)),
    ("icmp 1.2.3.4 > 5.6.7.8 type 3 code 4 quoting udp 5.6.7.8:1 > 1.2.3.4:2 length 3",
     ETHER / IP(src="1.2.3.4", dst="5.6.7.8", id=0) / ICMP(type=3, code=4) / Raw(bytes(
         IP(src="5.6.7.8", dst="1.2.3.4", id=0) / UDP(sport=1, dport=2) / Raw(bytes(3))))),
    ("icmpv6 2001:db8::1 > 2001:db8::2 echo-reply length 8",
     ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=64) / ICMPv6EchoReply(data=bytes(8))),
    ("icmpv6 fe80::1 > ff02::1:ff00:1 neighbor-solicitation",
     Ether(src=ONE, dst="33:33:ff:00:00:01") / IPv6(src="fe80::1", dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt="fe80::ff:fe00:1")),
    ("icmpv6 fe80::1 > ff02::1 neighbor-advertisement",
     Ether(src=ONE, dst="33:33:00:00:00:01") / IPv6(src="fe80::1", dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt="fe80::1", R=0, O=0)),
    ("icmpv6 fe80::1 > ff02::1 router-advertisement",
     Ether(src=ONE, dst="33:33:00:00:00:01") / IPv6(src="fe80::1", dst="ff02::1", hlim=255) / ICMPv6ND_RA(chlim=0, routerlifetime=0, prf=0)),
    ("icmpv6 fe80::1 > ff02::2 router-solicitation",
     Ether(src=ONE, dst="33:33:00:00:00:02") / IPv6(src="fe80::1", dst="ff02::2", hlim=255) / ICMPv6ND_RS()),
    ("icmpv6 2001:db8::1 > 2001:db8::2 unreachable quoting tcp [2001:db8::2]:1 > [2001:db8::3]:2 syn",
     ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=64) / ICMPv6DestUnreach() / Raw(bytes(
         IPv6(src="2001:db8::2", dst="2001:db8::3", hlim=64) / tcp(1, 2, "S")))),
    ("ip ipip 10.0.0.5 > 10.0.1.11 ecn 1 carrying tcp 192.0.2.7:4000 > 198.51.100.10:443 syn",
     ETHER / IP(src="10.0.0.5", dst="10.0.1.11", id=0, tos=1, proto=4) / Raw(bytes(
         IP(src="192.0.2.7", dst="198.51.100.10", id=0) / tcp(4000, 443, "S")))),
    ("ip ipv6 10.0.0.5 > 10.0.1.11 carrying tcp [2001:db8::7]:4000 > [2001:db8:f::10]:443 ack",
     ETHER / IP(src="10.0.0.5", dst="10.0.1.11", id=0, proto=41) / Raw(bytes(
         IPv6(src="2001:db8::7", dst="2001:db8:f::10", hlim=64) / tcp(4000, 443, "A")))),
    ("udp 10.0.0.5:40000 > 10.0.1.11:6080 carrying udp 192.0.2.7:4000 > 198.51.100.10:53 length 5",
     ETHER / IP(src="10.0.0.5", dst="10.0.1.11", id=0) / UDP(sport=40000, dport=6080) / Raw(bytes(
         IP(src="192.0.2.7", dst="198.51.100.10", id=0) / UDP(sport=4000, dport=53) / Raw(bytes(5))))),
    ("arp request 192.0.2.1 > 192.0.2.2",
     Ether(src=ONE, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=ONE, psrc="192.0.2.1", hwdst="00:00:00:00:00:00", pdst="192.0.2.2")),
    ("arp reply 192.0.2.1 > 192.0.2.2",
     ETHER / ARP(op=2, hwsrc=ONE, psrc="192.0.2.1", hwdst=TWO, pdst="192.0.2.2")),
    ("ip gre 192.0.2.1 > 224.0.0.5 payload 00",
     Ether(src=ONE, dst="01:00:5e:00:00:05") / IP(src="192.0.2.1", dst="224.0.0.5", id=0, proto=47) / Raw(b"\0")),
    ("ip 253 2001:db8::1 > 2001:db8::2 length 4",
     ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", nh=253) / Raw(bytes(4))),
    ("vlan 10 udp 192.0.2.1:1 > 255.255.255.255:2",
     Ether(src=ONE, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=10) / IP(src="192.0.2.1", dst="255.255.255.255", id=0) / UDP(sport=1, dport=2)),
    ("vlan 10 vlan 4095 icmp 192.0.2.1 > 192.0.2.2 echo-reply",
     ETHER / Dot1AD(vlan=10) / Dot1Q(vlan=4095) / IP(src="192.0.2.1", dst="192.0.2.2", id=0) / ICMP(type=0, id=0, seq=0)),
    ("udp 192.0.2.1:1 > 192.0.2.2:2 ip-options 8",
     ETHER / IP(src="192.0.2.1", dst="192.0.2.2", id=0, options=[IPOption_NOP()] * 8) / UDP(sport=1, dport=2)),
    ("udp [2001:db8::1]:1 > [2001:db8::2]:2 extensions 2",
     ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])
     / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / UDP(sport=1, dport=2)),
    ("udp 192.0.2.1:1 > 192.0.2.2:2 fragment 0 more length 8 id 7",
     ETHER / IP(src="192.0.2.1", dst="192.0.2.2", id=7, flags="MF") / UDP(sport=1, dport=2) / Raw(bytes(8))),
    ("udp 192.0.2.1:1 > 192.0.2.2:2 fragment 16 payload ffff id 7",
     ETHER / IP(src="192.0.2.1", dst="192.0.2.2", id=7, frag=2, proto=17) / Raw(b"\xff\xff")),
    ("tcp [2001:db8::1]:1 > [2001:db8::2]:2 syn fragment 0 more id 9",
     ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrFragment(m=1, id=9) / tcp(1, 2, "S")),
    ("tcp [2001:db8::1]:1 > [2001:db8::2]:2 fragment 24 length 8 id 9",
     ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrFragment(offset=3, id=9, nh=6) / Raw(bytes(8))),
    ("udp 192.0.2.1:1 > 192.0.2.2:2 dscp af41 vlan 7 mac 02:00:5e:10:00:01",
     Ether(src="02:00:5e:10:00:01", dst=TWO) / Dot1Q(vlan=7) / IP(src="192.0.2.1", dst="192.0.2.2", id=0, tos=34 << 2) / UDP(sport=1, dport=2)),
    ("udp 192.0.2.1:1 > 192.0.2.2:2 options",
     ETHER / IP(src="192.0.2.1", dst="192.0.2.2", id=0, options=[IPOption_NOP()] * 4) / UDP(sport=1, dport=2)),
    ("udp [2001:db8::1]:1 > [2001:db8::2]:2 options dscp ef",
     ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", tc=46 << 2) / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / UDP(sport=1, dport=2)),
    ("tcp 192.0.2.1:1 > 192.0.2.2:2 syn fragment first id 7",
     ETHER / IP(src="192.0.2.1", dst="192.0.2.2", id=7, flags="MF") / tcp(1, 2, "S")),
    ("tcp 192.0.2.1:1 > 192.0.2.2:2 fragment later id 7 length 4",
     ETHER / IP(src="192.0.2.1", dst="192.0.2.2", id=7, frag=185, proto=6) / Raw(bytes(4))),
    ("icmp 1.2.3.4 > 5.6.7.8 3/13", ETHER / IP(src="1.2.3.4", dst="5.6.7.8", id=0) / ICMP(type=3, code=13)),
    ("icmp 1.2.3.4 > 5.6.7.8 port-unreachable", ETHER / IP(src="1.2.3.4", dst="5.6.7.8", id=0) / ICMP(type=3, code=3)),
    ("icmpv6 2001:db8::1 > 2001:db8::2 port-unreachable",
     ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=64) / ICMPv6DestUnreach(code=4)),
]

for text, packet in CASES:
    print(f'PACKET("{text}",\n       "{bytes(packet).hex()}")')
