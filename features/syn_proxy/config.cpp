#include "features/syn_proxy/config.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/config/types.h"
#include "core/net/rate.h"
#include "features/syn_proxy/decode.h"
#include "features/syn_proxy/tables.h"

namespace penstock {
namespace {

// "10k/s": SYNs a second.
Type<uint32_t> over_type() {
  return {{"rate a second", {{"type", "string"}, {"pattern", "^[0-9]+[kM]?(pps|/(s|sec))$"}}}, [](Decoder& d, const Node& node, uint32_t& out) {
            if (!expect_scalar(d, node, "a rate")) return false;
            const auto rate = parse_rate(node.text);
            if (!rate || rate->counted != Counted::packets || rate->seconds != 1)
              return d.error(node, fmt::format("`{}` is no rate a second", node.text), "write it like 500/s, 10k/s or 10kpps: from 1/s to 100M/s");
            out = static_cast<uint32_t>(rate->amount);
            return true;
          }};
}

Keys<SynProxy> keys() {
  return Keys<SynProxy>("SYN proxy", "Answers SYNs with cookies while there are too many of them, so that only completed handshakes reach the host: see docs/shield.md.")
      .required("ports", one_or_list_of(number_type(1, 65535)), &SynProxy::ports,
                {fmt::format("TCP ports of this host, at most {}. Only what the policies accept, for a socket that listens here, is answered; what is forwarded goes on as it is.", PS_SYN_PORTS), "[80, 443]"})
      .required("over", over_type(), &SynProxy::over,
                {"SYNs a second, to all of the ports together, up to which nothing happens: the host answers them. When a second has more, cookies answer from then on, until five seconds after the last such second. "
                 "Where the kernel takes no cookies (before 6.9, or with net.ipv4.tcp_syncookies=0), SYNs beyond the rate are dropped, and `plan` says so.", "10k/s"})
      .check([](Decoder& d, const Node& node, SynProxy& proxy) {
        std::ranges::sort(proxy.ports);
        if (const auto twice = std::ranges::adjacent_find(proxy.ports); twice != proxy.ports.end())
          return d.error(node, fmt::format("port {} is named twice", *twice));
        if (proxy.ports.empty()) return d.error(node, "a SYN proxy without ports does nothing", "name a port: `ports: [80, 443]`");
        if (proxy.ports.size() > PS_SYN_PORTS) return d.error(node, fmt::format("{} ports are more than {}", proxy.ports.size(), PS_SYN_PORTS));
        return true;
      });
}

}  // namespace

Extension syn_proxy_key() {
  return extension("syn-proxy", object_of(keys()), {"Ports whose SYNs are answered with cookies when there are too many of them.", "{ ports: [80, 443], over: 10k/s }"});
}

}  // namespace penstock
