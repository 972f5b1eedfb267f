#include "features/interfaces/config.h"

#include <fmt/format.h>
#include <fnmatch.h>
#include <net/if.h>

#include <algorithm>

#include "features/interfaces/decode.h"

namespace penstock {
namespace {

// A device name, or a shell pattern of one.
Type<std::string> pattern_type() {
  return {{"device name or pattern", {{"type", "string"}, {"minLength", 1}}}, [](Decoder& d, const Node& node, std::string& out) {
            if (!expect_scalar(d, node, "a device name or pattern")) return false;
            if (node.text.empty()) return d.error(node, "an empty interface pattern matches no device", "write a device name (`eth0`) or a pattern (`eth*`)");
            if (node.text.find_first_of("/ \t\n") != std::string::npos)
              return d.error(node, fmt::format("`{}` cannot match a device: device names hold no blanks and no `/`", node.text));
            const bool pattern = node.text.find_first_of("*?[") != std::string::npos;
            if (!pattern && node.text.size() >= IFNAMSIZ)
              return d.error(node, fmt::format("`{}` cannot match a device: device names have at most {} characters", node.text, IFNAMSIZ - 1));
            out = node.text;
            return true;
          }};
}

Keys<Interface> keys(const std::vector<Extension>& others) {
  return Keys<Interface>("interface", "Devices that take part, by name or pattern, and how programs are attached to them.")
      .required("match", one_or_list_of(pattern_type()), &Interface::match,
                {"The devices, by name or by shell pattern (`*`, `?`, `[...]`).", "eth0"})
      .located(&Interface::match_at)
      .optional("xdp", one_of<XdpMode>({{XdpMode::automatic, {"auto", "native where the driver can, else generic with a warning"}},
                                        {XdpMode::native, {"native", "in the driver, or fail"}},
                                        {XdpMode::generic, {"generic", "in the kernel's receive path, for any device"}},
                                        {XdpMode::offload, {"offload", "on the card, or fail"}}}),
                &Interface::xdp, "auto", {"Where XDP programs run.", "native"})
      .located(&Interface::xdp_at)
      .optional("malformed", one_of<Malformed>({{Malformed::drop, {"drop", "drop it, with the reason `malformed`"}},
                                                {Malformed::pass, {"pass", "leave it to the host"}}}),
                &Interface::malformed, "drop",
                {"What happens to a packet with a header that is truncated or contradicts the frame.", "pass"})
      .extend(others, &Interface::extensions)
      .unbuilt({"mtu", "addresses", "vlans", "queues", "offloads", "mirror", "capture"})
      .check([](Decoder& d, const Node&, Interface& interface) {
        if (!interface.match.empty()) return true;
        return d.error(interface.match_at, fmt::format("the interface `{}` matches no device: its list is empty", interface.name), "name a device (`eth0`) or a pattern (`eth*`)");
      });
}

}  // namespace

Type<std::vector<Interface>> interfaces_type(const std::vector<Extension>& others) {
  return named_map_of<Interface>("interface", keys(others));
}

bool matches(const Interface& interface, const std::string& device) {
  return std::ranges::any_of(interface.match, [&](const std::string& pattern) { return fnmatch(pattern.c_str(), device.c_str(), 0) == 0; });
}

}  // namespace penstock
