"""Random rule sets of iptables, nft and ufw in their own languages, from the pools that packets come from.

`known` names the keys that this build of penstock understands; a match that needs another is not made."""
import random

from packets import DSCPS, ICMP4, ICMP6, MACS, NODE4, NODE6, PORTS, PREFIXES4, PREFIXES6, SOURCES4, SOURCES6, TTLS
from kernel import DEVICES


class Maker:
    def __init__(self, seed, known):
        self.random = random.Random(seed)
        self.known = known
        self.used = set()

    def chance(self, share):
        return self.random.random() < share

    def pick(self, values):
        return self.random.choice(values)

    def may(self, key, share):
        if key not in self.known or not self.chance(share):
            return False
        self.used.add(key)
        return True

    def port_list(self, between, most=5):
        out = set()
        for _ in range(self.random.randint(1, most)):
            a, b = sorted((self.pick(PORTS), self.pick(PORTS)))
            out.add(str(a) if self.chance(0.6) or a == b else f"{a}{between}{b}")
        return sorted(out)


FLAG_NAMES = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"]
VERDICTS = ["ACCEPT"] * 5 + ["DROP"] * 5


class Iptables(Maker):
    """The tables of one family as iptables-restore reads them."""

    def __init__(self, seed, known, v6, chain="INPUT"):
        super().__init__(seed, known)
        self.v6, self.base = v6, chain

    def matches(self):
        bang = lambda share=0.15: "! " if self.chance(share) else ""
        pools = (PREFIXES6, SOURCES6, NODE6) if self.v6 else (PREFIXES4, SOURCES4, NODE4)
        out = []
        if self.chance(0.45):
            out.append(f"{bang()}-s {self.pick(pools[0] + pools[1])}")
        if self.chance(0.2):
            out.append(f"{bang()}-d {self.pick(pools[0] + pools[2])}")
        if self.may("interface", 0.15):
            out.append(f"{bang()}-i {self.pick(DEVICES + ('eth+', 'lo', 'ppp0'))}")
        if self.chance(0.06):
            a, b = sorted(self.random.sample(range(1, 250), 2))
            base = "2001:db8:1::" if self.v6 else "10.1.0."
            text = lambda n: f"{base}{n:x}" if self.v6 else f"{base}{n}"
            out.append(f"-m iprange {bang()}--src-range {text(a)}-{text(b)}")
        proto = self.pick(["tcp"] * 5 + ["udp"] * 3 + ["icmp"] * 2 + ["47", "89"] + [None] * 4)
        if proto == "icmp":
            out.append("-p ipv6-icmp" if self.v6 else "-p icmp")
            if self.may("icmp", 0.7):
                kind, code = self.pick(ICMP6 if self.v6 else ICMP4)
                out.append(f"-m icmp6 {bang()}--icmpv6-type {kind}" if self.v6 else f"-m icmp {bang()}--icmp-type {kind}")
                if self.chance(0.3):
                    out[-1] += f"/{code}"
        elif proto:
            out.append(f"{bang(0.05)}-p {proto}")
        if proto in ("tcp", "udp") and not out[-1].startswith("!"):
            if self.chance(0.5):
                which = self.pick(["--dport", "--dport", "--sport"])
                a, b = sorted((self.pick(PORTS), self.pick(PORTS)))
                out.append(f"-m {proto} {bang()}{which} {a}" + (f":{b}" if self.chance(0.3) else ""))
            elif self.chance(0.5):
                out.append(f"-m multiport {bang()}{self.pick(['--dports', '--sports', '--ports'])} {','.join(self.port_list(':'))}")
            if proto == "tcp" and self.may("flags", 0.25):
                mask = self.random.sample(FLAG_NAMES, self.random.randint(1, 6))
                wanted = self.random.sample(mask, self.random.randint(0, len(mask)))
                out.append(f"-m tcp {bang()}--syn" if self.chance(0.3) else f"-m tcp {bang()}--tcp-flags {','.join(mask)} {','.join(wanted) or 'NONE'}")
        if self.may("ttl", 0.06):
            module, option = ("hl", "--hl") if self.v6 else ("ttl", "--ttl")
            out.append(f"-m {module} {option}-{self.pick(['eq', 'lt', 'gt'])} {self.pick(TTLS)}")
        if self.may("length", 0.06):
            a, b = sorted(self.random.sample(range(20, 500), 2))
            out.append(f"-m length {bang()}--length {a}:{b}")
        if self.may("dscp", 0.06):
            out.append(f"-m dscp {bang()}--dscp {self.pick(DSCPS)}")
        if self.may("mac", 0.06):
            out.append(f"-m mac {bang()}--mac-source {self.pick(MACS)}")
        if self.chance(0.06):  # what cannot be said
            out.append(self.pick(["-m conntrack --ctstate RELATED,ESTABLISHED", "-m limit --limit 5/sec", "-m addrtype --src-type LOCAL", "-m mark --mark 0x1"]))
        if self.chance(0.05):
            out.append(f'-m comment --comment "{self.pick(["a rule", "web", "1 + 1 = 2", "über"])}"')
        return out

    def text(self):
        chains = [f"c{i}" for i in range(4)]
        lines = [f"-A {self.base} {' '.join(self.matches())} -j {self.pick(VERDICTS)}" for _ in range(self.random.randint(4, 14))]
        for i, chain in enumerate(chains):
            above = [self.base] + chains[:i]
            for _ in range(self.random.randint(1, 2)):
                lines.insert(self.random.randrange(len(lines) + 1), f"-A {self.pick(above)} {' '.join(self.matches()[:1])} {self.pick(['-j', '-j', '-g'])} {chain}")
            for _ in range(self.random.randint(1, 5)):
                verdict = self.pick(VERDICTS + ["RETURN"] * 5)
                lines.append(f"-A {chain} {' '.join(self.matches())} -j {verdict}")
        if "continue" in self.known:
            lines.insert(self.random.randrange(len(lines)), f"-A {self.base} {' '.join(self.matches())} -j LOG")
        if "reject" in self.known:
            lines.insert(self.random.randrange(len(lines)), f"-A {self.base} {' '.join(self.matches())} -j REJECT")
        policy = self.pick(["ACCEPT", "DROP"])
        head = ["*filter", f":INPUT {policy if self.base == 'INPUT' else 'ACCEPT'} [0:0]", f":FORWARD {policy if self.base == 'FORWARD' else 'ACCEPT'} [0:0]", ":OUTPUT ACCEPT [0:0]"]
        out = head + [f":{c} - [0:0]" for c in chains] + lines + ["COMMIT"]
        if self.chance(0.5):
            out = ["*raw", ":PREROUTING ACCEPT [0:0]"] + [f"-A PREROUTING {' '.join(self.matches())} -j {self.pick(VERDICTS)}" for _ in range(2)] + ["COMMIT"] + out
        return "\n".join(out) + "\n"


class Nft(Maker):
    """A table of the family inet."""

    def address_set(self, v6):
        pool = PREFIXES6 + SOURCES6 if v6 else PREFIXES4 + SOURCES4
        return "{ " + ", ".join(self.without_overlap(pool, self.random.randint(1, 4))) + " }"

    def without_overlap(self, pool, count):
        import ipaddress
        out = []
        for text in self.random.sample(pool, count):
            network = ipaddress.ip_network(text)
            if all(not network.overlaps(ipaddress.ip_network(o)) for o in out):
                out.append(text)
        return out

    def ports(self):
        numbers = sorted(self.random.sample(PORTS, self.random.randint(1, 4)))
        if len(numbers) > 2 and self.chance(0.4):
            numbers = [f"{numbers[0]}-{numbers[1]}"] + numbers[2:]
        return "{ " + ", ".join(map(str, numbers)) + " }"

    def matches(self):
        sign = lambda share=0.2: "!= " if self.chance(share) else ""
        out = []
        version = self.pick([None, "ip", "ip6"])
        if version:
            v6 = version == "ip6"
            for side in ("saddr", "daddr"):
                if self.chance(0.5 if side == "saddr" else 0.15):
                    value = self.pick([self.pick(PREFIXES6 + SOURCES6 if v6 else PREFIXES4 + SOURCES4), self.address_set(v6), "@nets6" if v6 else "@nets4"])
                    out.append(f"{version} {side} {sign()}{value}")
            if self.may("ttl", 0.1):
                out.append(f"{'ip6 hoplimit' if v6 else 'ip ttl'} {self.pick(['', '!= ', '< ', '> ', '<= ', '>= '])}{self.pick(TTLS)}")
            if self.may("dscp", 0.1):
                out.append(f"{version} dscp {sign()}{self.pick(['ef', 'cs1', '{ af11, cs1, 63 }'])}")
            if self.may("length", 0.06):
                out.append(f"{'ip6' if v6 else 'ip'} length {self.pick(['< ', '> ', ''])}{self.pick([20, 28, 40, 60, 120])}")
        if self.may("interface", 0.12):
            out.append(f"iifname {self.pick(['eth0', '!= eth0', '{ eth0, eth1 }', 'eth*', 'lo'])}".replace("eth*", '"eth*"'))
        if self.may("mac", 0.05):
            out.append(f"ether saddr {sign()}{self.pick(MACS)}")
        kind = self.pick(["tcp"] * 5 + ["udp"] * 3 + ["icmp"] * 2 + ["both", "l4"] + [None] * 3)
        if kind in ("tcp", "udp"):
            if self.chance(0.75):
                out.append(f"{kind} {self.pick(['dport', 'dport', 'sport'])} {sign()}{self.pick([str(self.pick(PORTS)), self.ports(), '@services', '80-1024'])}")
            else:
                out.append(f"meta l4proto {kind}")
            if kind == "tcp" and self.may("flags", 0.25):
                out.append("tcp flags " + self.pick(["syn", "& (fin|syn|rst|ack) == syn", "& (fin|syn) == (fin|syn)", "syn,ack", "== syn", "!= syn", "& (syn|ack) != ack"]))
        elif kind == "both":
            out.append(f"meta l4proto {{ tcp, udp }} th dport {sign()}{self.ports()}")
        elif kind == "l4":
            out.append(f"meta l4proto {self.pick(['gre', 'ospf', '{ esp, gre }', 'icmp', 'ipv6-icmp'])}")
        elif kind == "icmp" and self.may("icmp", 1):
            if version != "ip6" and (version or self.chance(0.5)):
                out.append(f"icmp type {sign()}{self.pick(['echo-request', '{ echo-reply, 3, 11 }', 'time-exceeded'])}")
                if self.chance(0.2):
                    out.append("icmp code port-unreachable")
            else:
                out.append(f"icmpv6 type {sign()}{self.pick(['echo-request', '{ nd-neighbor-solicit, nd-router-solicit }', 'packet-too-big', '1'])}")
        if self.chance(0.06):
            out.append(self.pick(["ct state established,related", "limit rate 5/second", "meta mark 5", "fib saddr type local"]))
        return " ".join(out)

    def verdict(self, chains, mapped=False):
        words = ["accept"] * 5 + ["drop"] * 5 + [f"jump {c}" for c in chains] + [f"goto {c}" for c in chains[:1]]
        if "reject" in self.known and not mapped:  # to nft it is a statement, which no map can hold
            words.append("reject")
        return self.pick(words)

    def text(self):
        chains = [f"c{i}" for i in range(4)]
        lines = ["table inet f {",
                 f"  set nets4 {{ type ipv4_addr; flags interval; elements = {self.address_set(False)} }}",
                 f"  set nets6 {{ type ipv6_addr; flags interval; elements = {self.address_set(True)} }}",
                 f"  set services {{ type inet_service; flags interval; elements = {self.ports()} }}",
                 "  set pairs { type ipv4_addr . inet_service; elements = { " + ", ".join(sorted({f'{self.pick(SOURCES4)} . {self.pick(PORTS)}' for _ in range(4)})) + " } }",
                 "  map ways { type inet_service : verdict; elements = { 22 : accept, 80 : jump c3, 443 : drop } }"]
        for i in reversed(range(4)):
            later = chains[i + 1:]
            lines.append(f"  chain {chains[i]} {{")
            for _ in range(self.random.randint(1, 5)):
                lines.append(f"    {self.matches()} {self.pick(['return', 'return', self.verdict(later)])}")
            lines.append("  }")
        for hook, base in (("prerouting", self.chance(0.4)), ("input", True)):
            if not base:
                continue
            lines.append(f"  chain {hook} {{ type filter hook {hook} priority {self.pick([-10, 0])}; policy {self.pick(['accept', 'drop']) if hook == 'input' else 'accept'};")
            for _ in range(self.random.randint(3, 14) if hook == "input" else 2):
                kind = self.random.random()
                if kind < 0.06:
                    lines.append("    tcp dport vmap @ways")
                elif kind < 0.12:
                    a, b, c = sorted(self.random.sample(PORTS, 3))
                    lines.append(f"    {self.pick(['tcp', 'udp'])} {self.pick(['dport', 'sport'])} vmap {{ {a} : {self.verdict(chains, mapped=True)}, {b}-{c} : {self.verdict(chains, mapped=True)} }}")
                elif kind < 0.18:
                    lines.append(f"    ip saddr . tcp dport @pairs {self.verdict(chains)}")
                elif kind < 0.24:
                    lines.append(f"    ip saddr . ip protocol {{ {self.pick(SOURCES4)} . tcp, {self.pick(SOURCES4)} . udp }} {self.verdict(chains)}")
                elif kind < 0.28:
                    lines.append(f"    meta l4proto vmap {{ tcp : {self.verdict(chains, mapped=True)}, udp : {self.verdict(chains, mapped=True)} }}")
                else:
                    comment = self.pick(["", "", ' comment "web server"'])
                    lines.append(f"    {self.matches()} {self.verdict(chains)}{comment}")
            lines.append("  }")
        return "\n".join(lines + ["}"]) + "\n"


class Ufw(Maker):
    """user.rules and user6.rules as ufw 0.36 writes them."""

    def rule(self, v6):
        prefix = "ufw6" if v6 else "ufw"
        action, target = self.pick([("allow", "-j ACCEPT"), ("allow", "-j ACCEPT"), ("deny", "-j DROP")])
        if action == "deny" and "reject" in self.known and self.chance(0.3):
            action, target = "reject", "-j REJECT"
        proto = self.pick(["tcp", "tcp", "udp", "any", "esp"])
        source = self.pick(PREFIXES6 + SOURCES6 if v6 else PREFIXES4 + SOURCES4) if self.chance(0.5) else None
        destination = self.pick(NODE6 if v6 else NODE4) if self.chance(0.2) else None
        ports = self.port_list(":", 3) if proto in ("tcp", "udp") else [str(self.pick(PORTS))] if self.chance(0.5) and proto == "any" else []
        device = f"-i {self.pick(DEVICES)} " if self.may("interface", 0.15) else ""
        rest = (f" -d {destination}" if destination else "") + (f" -s {source}" if source else "")
        comment = " comment=" + "my web".encode().hex() if self.chance(0.2) else ""
        anywhere = "::/0" if v6 else "0.0.0.0/0"
        out = [f"### tuple ### {action} {proto} {','.join(ports) or 'any'} {destination or anywhere} any {source or anywhere} in{comment}"]
        if len(ports) > 1:
            out.append(f"-A {prefix}-user-input {device}-p {proto} -m multiport --dports {','.join(ports)}{rest} {target}")
        elif ports:
            for each in (["tcp", "udp"] if proto == "any" else [proto]):
                out.append(f"-A {prefix}-user-input {device}-p {each} --dport {ports[0]}{rest} {target}")
        else:
            out.append(f"-A {prefix}-user-input {device}" + (f"-p {proto}" if proto != "any" else "") + f"{rest} {target}")
        if self.chance(0.1):
            out[0] = out[0].replace(action, "limit", 1)
            out[1:] = [f"-A {prefix}-user-input -p tcp --dport 22 -m conntrack --ctstate NEW -m recent --set",
                       f"-A {prefix}-user-input -p tcp --dport 22 -m conntrack --ctstate NEW -m recent --update --seconds 30 --hitcount 6 -j {prefix}-user-limit",
                       f"-A {prefix}-user-input -p tcp --dport 22 -j {prefix}-user-limit-accept"]
        return out

    def text(self, v6):
        prefix = "ufw6" if v6 else "ufw"
        lines = ["*filter"] + [f":{prefix}-{c} - [0:0]" for c in ("user-input", "user-output", "user-forward", "after-logging-input", "user-limit", "user-limit-accept")] + ["### RULES ###", ""]
        for _ in range(self.random.randint(5, 14)):
            lines += self.rule(v6) + [""]
        lines += ["### END RULES ###", "", f'-A {prefix}-after-logging-input -j LOG --log-prefix "[UFW BLOCK] " -m limit --limit 3/min --limit-burst 10',
                  f'-A {prefix}-user-limit -m limit --limit 3/minute -j LOG --log-prefix "[UFW LIMIT BLOCK] "', f"-A {prefix}-user-limit -j REJECT",
                  f"-A {prefix}-user-limit-accept -j ACCEPT", "COMMIT"]
        return "\n".join(lines) + "\n"
