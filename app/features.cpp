#include "app/features.h"

#include <fmt/format.h>

#include "app/health.h"
#include "features/interfaces/decode.h"
#include "features/limits/decode.h"
#include "features/policy/decode.h"
#include "features/services/decode.h"
#include "features/receive/decode.h"
#include "features/sets/decode.h"
#include "features/syn_proxy/decode.h"
#include "features/tests/decode.h"
#include "features/wireguard/decode.h"

namespace penstock {
namespace {

Type<uint32_t> version_type() {
  return {{"1", {{"const", 1}}}, [](Decoder& d, const Node& node, uint32_t& out) {
            if (!expect_scalar(d, node, "the number 1")) return false;
            if (node.text != "1") return d.error(node, fmt::format("version `{}` of the file is unknown", node.text), "this penstock reads `version: 1`");
            out = 1;
            return true;
          }};
}

}  // namespace

const Keys<Config>& config_keys() {
  static const Keys<Config> keys =
      Keys<Config>("file", "A whole network node in one YAML file.")
          .required("version", version_type(), &Config::version, {"The version of this language.", "1"})
          .optional("management", one_or_list_of(address_type()), &Config::management,
                    {"Addresses that administer this node: a change that would cut off a new SSH connection from one of them is the risk `lose-ssh`.", "[192.0.2.10, \"2001:db8::10\"]"})
          .optional("interfaces", interfaces_type({syn_proxy_key(), wireguard_key()}), &Config::interfaces, {"The devices that take part.", "{ wan: { match: eth0 } }"})
          .optional("sets", sets_type(), &Config::sets, {"Named lists of prefixes.", "{ admins: { prefixes: [203.0.113.0/28] } }"})
          .optional("policies", policies_type({extension("limit", limit_type(), limit_doc())}), &Config::policies, {"Rules and where they apply.", "{ edge: { attach: [wan.ingress], default: accept } }"})
          .optional("services", services_type(health_keys()), &Config::services,
                    {"Load balancing: frontends, and the backends that their connections go to; see docs/services.md.", "{ web: { frontend: 198.51.100.10:443/tcp, backends: { b1: { address: 10.0.1.11 } } } }"})
          .optional("flows", flows_type(), &Config::flows, {"The connections that services remember.", "256k"})
          .optional("receive", receive_type(), &Config::receive, {"Takes packets that a balancer encapsulated for this node.", "{ decap: ipip, from: 10.0.0.0/28 }"})
          .optional("tests", tests_type(), &Config::tests, {"Packets and what must happen to them.", "[{ packet: \"udp 192.0.2.7:4000 > 198.51.100.9:53\", on: wan, expect: pass }]"})
          .unbuilt({"limits", "shape", "routes", "tunnels", "vlans", "agent", "metrics", "events", "mirrors", "sockets", "nat", "log"});
  return keys;
}

}  // namespace penstock
