#include "features/receive/config.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/config/types.h"
#include "features/receive/decode.h"
#include "features/receive/tables.h"

namespace penstock {
namespace {

bool read_source(Decoder& d, const Node& node, ReceiveFrom& out) {
  if (!expect_scalar(d, node, "a prefix or a set")) return false;
  if (node.text == "any") return d.error(node, "`any` stands alone", "it takes every source: remove the rest, or `any`");
  if (looks_like_address(node.text)) {
    Prefix prefix;
    if (!decode_prefix(d, node, prefix)) return false;
    if (prefix.family_length() == 0)
      return d.error(node, fmt::format("`{}` would let everybody send packets in anybody's name", node.text), "name the balancers; if it must be, write `from: any`");
    out.prefixes.push_back(prefix);
    return true;
  }
  if (!is_name(node.text)) return d.error(node, fmt::format("`{}` is neither a prefix nor the name of a set", node.text));
  d.refer("set", node.text, node);
  out.sets.push_back(node.text);
  return true;
}

Type<ReceiveFrom> from_type() {
  const nlohmann::ordered_json item{{"type", "string"}, {"minLength", 1}};
  Shape shape{"`any`, a prefix, a set, or a list of them", {{"anyOf", {item, {{"type", "array"}, {"items", item}, {"minItems", 1}}}}}, {{"any", "every source: see docs/backend.md before"}}};
  return {shape, [](Decoder& d, const Node& node, ReceiveFrom& out) {
            if (node.kind == Node::Kind::scalar && node.text == "any") {
              out.any = true;
              return true;
            }
            if (node.kind != Node::Kind::list) return read_source(d, node, out);
            if (node.items.empty()) return d.error(node, "an empty list takes packets from nobody", "name the balancers' addresses");
            bool good = true;
            for (const Node& item : node.items) good = read_source(d, item, out) && good;
            std::ranges::sort(out.sets);
            out.sets.erase(std::ranges::unique(out.sets).begin(), out.sets.end());
            if (const size_t sets = out.sets.size() + !out.prefixes.empty(); good && sets > PS_RECEIVE_SETS)
              return d.error(node, fmt::format("too many sets of sources: prefixes, which are one together, and sets are {}, but at most {} are asked", sets, PS_RECEIVE_SETS));
            return good;
          }};
}

Keys<Receive> keys() {
  return Keys<Receive>("receive", "Strips what a balancer put around packets for this node (direct server return), in XDP and without a tunnel device: see docs/backend.md.")
      .required("decap", one_or_list_of(one_of<Decap>({{Decap::ipip, {"ipip", "IPv4 and IPv6 in IPv4 and IPv6 (protocols 4 and 41)"}},
                                                       {Decap::gue, {"gue", "generic UDP encapsulation, variants 0 and 1, without optional fields"}}})),
                &Receive::decap, {"What is stripped.", "[ipip, gue]"})
      .required("from", from_type(), &Receive::from,
                {"The balancers: outer sources whose packets are stripped. What others encapsulate goes to the host as it is. The stripped packet may claim any source, so whoever may send one can speak for everybody.",
                 "[10.0.0.0/28, \"2001:db8:1::/64\"]"})
      .optional("gue-port", number_type(1, 65535), &Receive::gue_port, "6080", {"The UDP port of GUE.", "6080"})
      .optional("on", one_or_list_of(reference_type("interface")), &Receive::on, {"The interfaces on which packets are stripped, where it is not all of them.", "[wan]"})
      .optional("frontends", one_or_list_of(address_type()), &Receive::frontends,
                {"The addresses of the services that this node is a backend of. They change nothing that runs: `penstock doctor` looks whether they are this host's own, and whether neighbours hear of them.",
                 "[198.51.100.10, \"2001:db8:f::10\"]"})
      .check([](Decoder& d, const Node&, Receive& receive) {
        if (receive.decap.empty()) return d.error(receive.at, "`receive` strips nothing: `decap` is empty", "write `decap: ipip`");
        std::ranges::sort(receive.decap);
        if (std::ranges::adjacent_find(receive.decap) != receive.decap.end()) return d.error(receive.at, "`decap` names one encapsulation twice", "remove one of them");
        return true;
      });
}

}  // namespace

bool Receive::strips(Decap kind) const { return std::ranges::find(decap, kind) != decap.end(); }
bool Receive::stands_on(const std::string& interface) const { return on.empty() || std::ranges::find(on, interface) != on.end(); }

Type<std::optional<Receive>> receive_type() {
  const Type<Receive> type = object_of(keys());
  return {type.shape, [decode = type.decode](Decoder& d, const Node& node, std::optional<Receive>& out) { return decode(d, node, out.emplace()); }};
}

}  // namespace penstock
