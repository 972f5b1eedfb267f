#include "features/services/config.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>

#include "core/config/types.h"
#include "features/services/decode.h"
#include "features/services/maglev.h"
#include "features/services/nat.h"

namespace penstock {
namespace {

constexpr uint32_t most_weight = 10'000, least_flows = 1024, most_flows = 64 << 20, longest_idle = 60'000;
constexpr size_t most_sources = 8, most_backends = 4096;
constexpr const char* frontend_hint = "write ADDRESS:PORT/tcp, ADDRESS:FIRST-LAST/udp or, for all ports, ADDRESS/tcp; an IPv6 address with a port stands in brackets";

bool read_port(std::string_view text, uint16_t& out) {
  if (text.empty() || text.size() > 5 || text.find_first_not_of("0123456789") != text.npos) return false;
  unsigned value = 0;
  for (const char c : text) value = value * 10 + static_cast<unsigned>(c - '0');
  out = static_cast<uint16_t>(value);
  return value >= 1 && value <= 65535;
}

// What is wrong with it; empty: nothing.
std::string read_frontend(std::string_view text, Frontend& out) {
  const size_t slash = text.rfind('/');
  if (slash == text.npos) return "it names no protocol";
  const std::string_view protocol = text.substr(slash + 1);
  if (protocol != "tcp" && protocol != "udp") return fmt::format("`{}` is neither tcp nor udp", protocol);
  out.protocol = protocol == "tcp" ? IPPROTO_TCP : IPPROTO_UDP;
  text = text.substr(0, slash);
  std::string_view address = text, ports;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == text.npos) return "a bracket is not closed";
    address = text.substr(1, close - 1);
    std::string_view rest = text.substr(close + 1);
    if (!rest.empty() && !rest.starts_with(':')) return "a colon belongs between the bracket and the port";
    if (!rest.empty()) ports = rest.substr(1);
    if (!rest.empty() && ports.empty()) return "it names no port behind the colon";
  } else if (std::ranges::count(text, ':') == 1) {
    address = text.substr(0, text.find(':'));
    ports = text.substr(text.find(':') + 1);
    if (ports.empty()) return "it names no port behind the colon";
  }
  const auto parsed = Address::parse(address);
  if (!parsed) return fmt::format("`{}` is no address", address);
  out.address = *parsed;
  out.ports = {0, 65535};
  if (ports.empty()) return {};
  const size_t dash = ports.find('-');
  if (!read_port(ports.substr(0, dash), out.ports.first) || !read_port(dash == ports.npos ? ports : ports.substr(dash + 1), out.ports.last))
    return fmt::format("`{}` is no port from 1 to 65535 and no range of them", ports);
  return out.ports.first > out.ports.last ? "its range of ports ends before it begins" : "";
}

Type<Frontend> frontend_type() {
  return {{"ADDRESS:PORT/tcp, ADDRESS:FIRST-LAST/udp, ADDRESS/tcp", {{"type", "string"}, {"pattern", "^[0-9a-fA-F.:\\[\\]]+(:[0-9]+(-[0-9]+)?)?/(tcp|udp)$"}}}, [](Decoder& d, const Node& node, Frontend& out) {
            if (!expect_scalar(d, node, "a frontend")) return false;
            if (const std::string problem = read_frontend(node.text, out); !problem.empty()) return d.error(node, fmt::format("`{}` is no frontend: {}", node.text, problem), frontend_hint);
            const Address& a = out.address;
            if (a.is_v4() ? a.v4() >> 28 >= 14 || a.v4() >> 24 == 0 || a.v4() >> 24 == 127 : a.hi >> 56 == 0xff || (a.hi == 0 && a.lo <= 1))
              return d.error(node, fmt::format("`{}` is not the address of a host on the network", a.text()), "a frontend is an address that clients connect to");
            out.at = d.at(node);
            return true;
          }};
}

Type<SourceMatch> source_type() {
  const Type<std::vector<std::string>> list = one_or_list_of(string_type("set or prefix"));
  return {{"set, prefix, or a list of them", list.shape.schema}, [](Decoder& d, const Node& node, SourceMatch& out) {
            const auto one = [&](const Node& item) {
              if (!expect_scalar(d, item, "a set or a prefix")) return false;
              if (looks_like_address(item.text)) return decode_prefix(d, item, out.prefixes.emplace_back());
              if (!is_name(item.text)) return d.error(item, fmt::format("`{}` is neither a prefix nor the name of a set", item.text));
              d.refer("set", item.text, item);
              out.sets.push_back(item.text);
              return true;
            };
            bool good = true;
            if (node.kind == Node::Kind::list)
              for (const Node& item : node.items) good = one(item) && good;
            else
              good = one(node);
            if (out.sets.size() + !out.prefixes.empty() > most_sources) return d.error(node, fmt::format("more than {} sets may not be named here", most_sources - 1), "make one set of them");
            return good;
          }};
}

Type<std::optional<Address>> backend_address_type() {
  const Type<Address> address = address_type();
  return {{"address, or `local`", {{"type", "string"}}, {{"local", "this node: the packet goes up to the host as it is"}}}, [decode = address.decode](Decoder& d, const Node& node, std::optional<Address>& out) {
            if (node.kind == Node::Kind::scalar && node.text == "local") return true;
            Address value;
            if (!decode(d, node, value)) return false;
            out = value;
            return true;
          }};
}

// An address is a prefix of its whole length.
Type<std::optional<Prefix>> outer_source_type() {
  const Type<Prefix> prefix = prefix_type();
  return {prefix.shape, [decode = prefix.decode](Decoder& d, const Node& node, std::optional<Prefix>& out) {
            Prefix value;
            if (!decode(d, node, value)) return false;
            out = value;
            return true;
          }};
}

// "256k": k and M are 1024 and its square.
Type<uint32_t> flow_entries_type() {
  return {{"number, as 256k or 1M", {{"anyOf", {{{"type", "integer"}, {"minimum", least_flows}}, {{"type", "string"}, {"pattern", "^[0-9]+[kM]?$"}}}}}}, [](Decoder& d, const Node& node, uint32_t& out) {
            if (!expect_scalar(d, node, "a number of flows")) return false;
            std::string_view text = node.text;
            const unsigned shift = text.ends_with('k') ? 10 : text.ends_with('M') ? 20 : 0;
            if (shift) text.remove_suffix(1);
            uint64_t number = 0;
            if (!decode_number(d, node, text, 1, most_flows, number)) return false;
            number <<= shift;
            if (number < least_flows || number > most_flows) return d.error(node, fmt::format("{} flows are not between {} and {}", number, least_flows, most_flows));
            out = static_cast<uint32_t>(number);
            return true;
          }};
}

Type<BackendState> state_type() {
  return one_of<BackendState>({{BackendState::up, {"up", "takes connections"}},
                               {BackendState::draining, {"draining", "keeps the connections that it has, and gets no others"}},
                               {BackendState::down, {"down", "gets nothing: its connections move to other backends"}},
                               {BackendState::maintenance, {"maintenance", "as `down`, and it is not checked"}}});
}

Keys<Backend> backend_keys(const std::vector<Extension>& others) {
  return Keys<Backend>("backend", "A host that serves.  Its name decides which connections it gets: renaming it moves them.")
      .required("address", backend_address_type(), &Backend::address, {"Where it is; of either family, whatever the frontend's is, unless `encap` is `none`.", "10.0.1.11"})
      .optional("weight", number_type(0, most_weight), &Backend::weight, "1", {"Its share of new connections, in proportion to the others'.  0: none.", "10"})
      .optional("state", state_type(), &Backend::state, "up", {"What may be done with it.", "draining"})
      .optional("path-mtu", number_type(576, 65535), &Backend::path_mtu, {"The largest packet, outer header included, that gets through to it, where a link on the way is narrower than the first (default: the route's).", "1400"})
      .optional("port", number_type(1, 65535), &Backend::port, {"With `mode: nat`, the port that it serves on, where frontends have one port each (default: the frontend's; those of a range stay as they are).", "8080"})
      .extend(others, &Backend::extensions);
}

bool share_ports(const Frontend& a, const Frontend& b) {
  return a.address == b.address && a.protocol == b.protocol && a.ports.first <= b.ports.last && b.ports.first <= a.ports.last;
}

bool check_outer_source(Decoder& d, const Service& service) {
  if (!service.outer_source) return true;
  const bool v4 = service.outer_source->is_v4();
  if (service.mode == ServiceMode::nat) return true;
  if (service.encap == PS_ENCAP_NONE) return d.error(service.outer_source_at, "`outer-source` without a header around the packet: `encap` is `none`", "remove it, or write `encap: ipip`");
  for (const Backend& b : service.backends)
    if (b.address && b.address->is_v4() != v4)
      return d.error(b.at, fmt::format("the backend `{}` is reached over IPv{}, but `outer-source` is of IPv{}", b.name, v4 ? 6 : 4, v4 ? 4 : 6), "put it into a service of its own, or leave `outer-source` out");
  return true;
}

bool check_service(Decoder& d, const Node& node, Service& service) {
  bool good = true;
  size_t lists = 0;
  for (size_t i = 0; i < node.entries(); ++i) lists += node.key(i).text.starts_with("frontend");
  if (lists > 1) return d.error(node, fmt::format("the service `{}` has both `frontend` and `frontends`", service.name), "put all of them into one list");
  if (service.frontends.empty()) return d.error(service.frontends_at, fmt::format("the service `{}` has no frontend", service.name), frontend_hint);
  for (size_t i = 0; i < service.frontends.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (share_ports(service.frontends[i], service.frontends[j]))
        good = d.error(service.frontends[i].at, fmt::format("{} and {} share a port", service.frontends[j].text(), service.frontends[i].text()), "remove one of them");
  if (service.backends.size() > most_backends) good = d.error(node, fmt::format("the service `{}` has {} backends, but one has at most {}", service.name, service.backends.size(), most_backends));
  if (service.table_size && !is_prime(service.table_size))
    good = d.error(service.table_size_at, fmt::format("{} is no prime", service.table_size), fmt::format("write `table-size: {}`", prime_from(service.table_size)));
  if (service.table_size && service.table_size < service.backends.size())
    good = d.error(service.table_size_at, fmt::format("{} places are less than {} backends", service.table_size, service.backends.size()), "at least a hundred for each keep shares even");
  service.encap = service.encap_said.value_or(service.mode == ServiceMode::nat ? PS_ENCAP_NONE : PS_ENCAP_IPIP);
  good = check_nat(d, service) && good;
  if (service.mode == ServiceMode::dsr && service.encap == PS_ENCAP_NONE)
    for (const Backend& b : service.backends)
      for (const Frontend& f : service.frontends)
        if (b.address && b.address->is_v4() != f.address.is_v4()) {
          good = d.error(b.at, fmt::format("the backend `{}` has an IPv{} address, but {} is of IPv{}", b.name, b.address->is_v4() ? 4 : 6, f.text(), f.address.is_v4() ? 4 : 6), "with `encap: none` both are of one family; write `encap: ipip`");
          break;
        }
  return check_outer_source(d, service) && good;
}

// Names of backends are a service's own.
Type<std::vector<Backend>> backends_type(const std::vector<Extension>& others) {
  const Shape shape = named_map_of<Backend>("backend of a service", backend_keys(others)).shape;
  return {shape, [keys = backend_keys(others)](Decoder& d, const Node& node, std::vector<Backend>& out) {
            if (node.kind != Node::Kind::map) return d.error(node, "expected a map from names to backends", "write `NAME: { address: ADDRESS }`");
            bool good = true;
            for (size_t i = 0; i < node.entries(); ++i) {
              Backend& b = out.emplace_back();
              b.name = node.key(i).text;
              b.at = d.at(node.key(i));
              good = check_map_name(d, node.key(i), "backend") && keys.decode(d, node.value(i), b) && good;
            }
            return good;
          }};
}

Keys<Service> keys(const std::vector<Extension>& of_service, const std::vector<Extension>& of_backend) {
  return Keys<Service>("service", "Frontends, and the backends that their connections go to.  Policies run before services: what they drop reaches no backend.")
      .optional("frontend", one_or_list_of(frontend_type()), &Service::frontends, {"What clients connect to: an address with a protocol and a port, a range of ports or, without any, all of them; or a list of these.", "198.51.100.10:443/tcp"})
      .located(&Service::frontends_at)
      .optional("frontends", list_of(frontend_type()), &Service::frontends, {"The same, as a list.", "[198.51.100.10:443/tcp, \"[2001:db8::10]:443/tcp\"]"})
      .optional("on", one_or_list_of(reference_type("interface")), &Service::on, {"The interfaces whose packets it takes (default: all).", "wan"})
      .optional("from", source_type(), &Service::from, {"Who may use it, by prefixes or sets (default: everybody).  Others' packets are dropped.", "[203.0.113.0/24, office]"})
      .optional("mode", one_of<ServiceMode>({{ServiceMode::dsr, {"dsr", "direct server return: packets reach the backend with the client's and the frontend's addresses, and it answers the client itself"}},
                                              {ServiceMode::nat, {"nat", "packets reach the backend under its own address, within a family; its answers come back through this node, by any interface of the file, and get the frontend's"}}}),
                &Service::mode, "dsr", {"How packets reach a backend.", "dsr"})
      .located(&Service::mode_at)
      .optional("encap", one_of<ps_encap>({{PS_ENCAP_NONE, {"none", "nothing: the backend is on a link of this node, and gets the packet by its MAC address"}},
                                           {PS_ENCAP_IPIP, {"ipip", "in an IP header of the backend's family (RFC 2003, RFC 4213, RFC 2473)"}},
                                           {PS_ENCAP_GUE, {"gue", "in UDP and GUE, variant 1: the outer source port tells flows apart"}}}),
                &Service::encap_said, {"With `mode: dsr`, what is put around a packet (default: `ipip`).", "gue"})
      .located(&Service::encap_at)
      .optional("source-nat", yes_no_type(), &Service::source_nat, "no", {"With `mode: nat`, whether packets also come from this node's address and a port of `flows: source-ports`: for backends whose answers would take another way.  They do not see who the client is.", "yes"})
      .located(&Service::source_nat_at)
      .optional("outer-source", outer_source_type(), &Service::outer_source, {"The source of outer headers; of a prefix each flow uses another address, for the receiver's queues (default: this node's own).", "10.0.9.0/24"})
      .located(&Service::outer_source_at)
      .optional("gue-port", number_type(1, 65535), &Service::gue_port, "6080", {"The UDP port that backends listen on for GUE.", "6080"})
      .optional("scheduler", one_of<Scheduler>({{Scheduler::maglev, {"maglev", "by a consistent hash: every node with this file chooses alike, and a change moves few"}},
                                                {Scheduler::round_robin, {"round-robin", "one after the other, by weight, on each CPU"}},
                                                {Scheduler::random, {"random", "at random, by weight"}}}),
                &Service::scheduler, "maglev", {"Which backend a new connection goes to.", "maglev"})
      .optional("table-size", number_type(3, most_ring_size), &Service::table_size, {"Places in the Maglev table, a prime (default: the first of 251, 509, 1021, 2039, ... that has a hundred for each backend).", "65537"})
      .located(&Service::table_size_at)
      .optional("affinity", one_of<Affinity>({{Affinity::flow, {"flow", "each connection by itself"}}, {Affinity::client, {"client", "all connections of a client's address go to one backend"}}}),
                &Service::affinity, "flow", {"What stays together.", "client"})
      .optional("mss", number_type(88, 65495), &Service::mss, {"The most that a client's SYN may announce as its segment size: what is more is clamped (default: it stays).", "1360"})
      .required("backends", backends_type(of_backend), &Service::backends, {"Who serves.", "{ b1: { address: 10.0.1.11, weight: 10 }, b2: { address: 10.0.1.12 } }"})
      .extend(of_service, &Service::extensions)
      .check(check_service);
}

bool check_apart(Decoder& d, const std::vector<Service>& services) {
  std::vector<std::pair<const Frontend*, const Service*>> all;
  for (const Service& s : services)
    for (const Frontend& f : s.frontends) all.emplace_back(&f, &s);
  std::ranges::stable_sort(all, [](const auto& a, const auto& b) {
    return std::tie(a.first->address, a.first->protocol, a.first->ports.first) < std::tie(b.first->address, b.first->protocol, b.first->ports.first);
  });
  bool good = true;
  for (size_t i = 1; i < all.size(); ++i)
    if (all[i].second != all[i - 1].second && share_ports(*all[i].first, *all[i - 1].first))
      good = d.error(all[i].first->at, fmt::format("{} of the service `{}` takes a port of {}, of the service `{}`", all[i].first->text(), all[i].second->name, all[i - 1].first->text(), all[i - 1].second->name),
                     "a port of an address belongs to one service");
  return good;
}

}  // namespace

std::string Frontend::text() const {
  const bool all = ports.first == 0 && ports.last == 65535;
  const std::string where = address.is_v4() || all ? address.text() : "[" + address.text() + "]";
  const char* const name = protocol == IPPROTO_TCP ? "tcp" : "udp";
  if (all) return fmt::format("{}/{}", where, name);
  return one_port() ? fmt::format("{}:{}/{}", where, ports.first, name) : fmt::format("{}:{}-{}/{}", where, ports.first, ports.last, name);
}

std::string backend_text(const Backend& b) {
  return fmt::format("{} weight {} state {} path-mtu {}{}", b.address ? b.address->text() : "local", b.weight, static_cast<int>(b.state), b.path_mtu, b.port ? fmt::format(" port {}", b.port) : "");
}

std::string service_text(const Service& s) {
  std::string out = fmt::format("{} {} {} {} {} {} {} {}", s.mss, static_cast<int>(s.mode), static_cast<int>(s.encap), s.outer_source ? s.outer_source->text() : "own", s.gue_port, static_cast<int>(s.scheduler), s.table_size, static_cast<int>(s.affinity));
  if (s.source_nat) out += " source-nat";
  for (const Frontend& f : s.frontends) out += " " + f.text();
  for (const std::string& i : s.on) out += " on " + i;
  for (const Prefix& p : s.from.prefixes) out += " from " + p.text();
  for (const std::string& set : s.from.sets) out += " from " + set;
  return out;
}

Type<std::vector<Service>> services_type(const std::vector<Extension>& of_service, const std::vector<Extension>& of_backend) {
  const Type<std::vector<Service>> map = named_map_of<Service>("service", keys(of_service, of_backend));
  return {map.shape, [decode = map.decode](Decoder& d, const Node& node, std::vector<Service>& out) { return decode(d, node, out) && check_apart(d, out) && check_reverses(d, out); }};
}

Type<Flows> flows_type() {
  const Type<uint32_t> entries = flow_entries_type();
  const Type<Flows> map = object_of(Keys<Flows>("flow table", "The connections that the node remembers, so that each stays with its backend while backends change.")
                                        .optional("entries", entries, &Flows::entries, "256k", {"How many at the same time; each takes 32 bytes.", "1M"})
                                        .optional("tcp-idle", number_type(10, longest_idle), &Flows::tcp_idle, "3600", {"Seconds of silence after which a TCP connection may be forgotten.", "7200"})
                                        .optional("udp-idle", number_type(10, longest_idle), &Flows::udp_idle, "120", {"Seconds of silence after which a UDP flow may be forgotten.", "300"})
                                        .optional("source-ports", source_ports_type(), &Flows::source_ports, "20000-32767", {"The ports of this node that translated sources have (`source-nat`): one for each connection, of each protocol and family.  Nothing else on this node may use them.", "20000-32767"}));
  return {{"number, or `{ entries, tcp-idle, udp-idle, source-ports }`", {{"anyOf", {entries.shape.schema, map.shape.schema}}}, {}, map.shape.table, ""}, [entries = entries.decode, map = map.decode](Decoder& d, const Node& node, Flows& out) {
            return node.kind == Node::Kind::map ? map(d, node, out) : entries(d, node, out.entries);
          }};
}

}  // namespace penstock
