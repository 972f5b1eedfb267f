#include "features/syn_proxy/compile.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>

namespace penstock {
namespace {

constexpr uint32_t usual_mtu = 1500, header_v4 = 40, header_v6 = 60;
constexpr uint32_t usual_window = 64240;  // what a listener with usual buffers announces: 44 segments

// SYNs in 2^PS_SYN_SECOND ns.
uint32_t in_second(uint32_t over) {
  return static_cast<uint32_t>(std::max<uint64_t>(1, (static_cast<uint64_t>(over) << PS_SYN_SECOND) / 1'000'000'000));
}

// The scale that the kernel would choose: it shifts the largest buffer into 15 bits.
uint8_t scale_of(uint32_t bytes) { return static_cast<uint8_t>(std::clamp(static_cast<int>(std::bit_width(bytes)) - 16, 0, 14)); }

}  // namespace

std::string syn_proxy_text(const SynProxy& proxy) { return fmt::format("{} over {}/s", fmt::join(proxy.ports, ", "), proxy.over); }

void compile_syn_proxy(const SynProxy& proxy, const TcpSettings& tcp, uint32_t mtu, SlotTable& slots, HookImage& hook) {
  const auto slot = [&](ps_verdict verdict, ps_reason reason) { return slots.intern({0, hook.interface, {}, {}, verdict, reason, proxy.at}); };
  ps_syn_const out{};
  out.ports = static_cast<uint32_t>(proxy.ports.size());
  std::ranges::transform(proxy.ports, out.port, [](uint32_t port) { return static_cast<uint16_t>(port); });
  out.over = in_second(proxy.over);
  out.slot_limited = slot(PS_DROP, PS_REASON_SYN_LIMITED);
  out.cookies = tcp.no_cookies.empty();
  if (out.cookies) {
    out.slot_cookie = slot(PS_TX, PS_REASON_SYN_COOKIE);
    out.slot_valid = slot(PS_PASS, PS_REASON_COOKIE_VALID);
    hook.behind = "tc";
  }
  mtu = std::clamp(mtu, 576u, usual_mtu);
  out.mss[0] = static_cast<uint16_t>(mtu - header_v4);
  out.mss[1] = static_cast<uint16_t>(mtu - header_v6);
  out.window = static_cast<uint16_t>(std::min(usual_window, tcp.receive_default / 2));
  out.scale = scale_of(tcp.receive_max);
  if (tcp.timestamps) out.offers |= PS_SYN_TIMESTAMPS;
  if (tcp.sack) out.offers |= PS_SYN_SACK;
  if (tcp.scaling) out.offers |= PS_SYN_SCALE;
  hook.constants["syn_const"] = bytes_of(out);
}

std::map<std::string, uint32_t> syn_proxy_sizes(bool used) {
  return {{"syn_proxy", used}, {"syn_rates", used ? PS_SYN_INTERFACES : 0}, {"syn_scratch", used}, {"syn_takens", used}};
}

}  // namespace penstock
