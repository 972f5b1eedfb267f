#include "features/syn_proxy/state.h"

#include <sys/random.h>

#include <cerrno>
#include <filesystem>

#include "core/kernel/bpf.h"
#include "features/syn_proxy/tables.h"

namespace penstock {

Result<> start_syn_proxy(int map) {
  if (map < 0) return {};
  TRY_ASSIGN(const Mapping memory, map_memory(map));
  auto* state = memory.as<ps_syn_state>();
  if (state->key[0] || state->key[1]) return {};
  if (getrandom(state->key, sizeof state->key, 0) != sizeof state->key) return fail_errno("cannot make a key for cookies", errno);
  return {};
}

Result<std::optional<SynProxyNow>> syn_proxy_now(const Instance& instance, uint32_t interface) {
  const std::string path = instance.pins("shared/syn_rates");
  if (!std::filesystem::exists(path)) return std::nullopt;
  TRY_ASSIGN(const Fd map, open_pin(path));
  TRY_ASSIGN(const Mapping memory, map_memory(map.get()));
  const ps_syn_rate& rate = memory.as<const ps_syn_rate>()[interface % PS_SYN_INTERFACES];
  const uint64_t now = coarse_now();
  return SynProxyNow{rate.second >> 32 == now >> PS_SYN_SECOND ? static_cast<uint32_t>(rate.second) : 0, now < rate.until};
}

}  // namespace penstock
