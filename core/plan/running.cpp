#include "core/plan/running.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "core/kernel/bpf.h"

namespace penstock {

namespace fs = std::filesystem;

uint64_t own_network() {
  struct stat there {};
  return stat("/proc/self/ns/net", &there) == 0 ? there.st_ino : 0;
}

namespace {
Result<Mapping> map_pin(const std::string& path) {
  TRY_ASSIGN(const Fd map, open_pin(path));
  return map_memory(map.get());
}
bool number_after(const std::string& name, const std::string& prefix, uint64_t& number) {
  if (!name.starts_with(prefix) || name.size() == prefix.size() || name.size() > prefix.size() + 18) return false;
  const std::string digits = name.substr(prefix.size());
  if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) return false;
  number = std::stoull(digits);
  return true;
}

// The generation whose program a link runs; 0 if none does.
uint64_t generation_of_links(const Instance& instance, const Running& running) {
  for (const uint64_t generation : running.generations) {
    std::error_code error;
    for (fs::directory_iterator it(instance.generation(generation), error), end; !error && it != end; it.increment(error)) {
      if (!it->path().filename().string().starts_with("hook-")) continue;
      auto program = open_pin(it->path());
      if (!program) continue;
      auto info = program_info(program->get());
      if (info && std::any_of(running.links.begin(), running.links.end(), [&](const RunningLink& l) { return l.info.ifindex != 0 && l.info.program == info->id; }))
        return generation;
    }
  }
  return 0;
}
}  // namespace

Result<Running> observe(const Instance& instance) {
  Running running;
  std::error_code error;
  if (!fs::exists(instance.bpf, error)) {
    if (error) return fail(fmt::format("cannot look into {}: {}", instance.bpf, error.message()), "penstock needs root");
    return running;
  }
  if (fs::exists(instance.pins("state"), error)) {
    running.present = true;
    TRY_ASSIGN(const Mapping memory, map_pin(instance.pins("state")));
    running.state = *memory.as<NodeState>();
  }
  if (fs::exists(instance.pins("txn/word"), error)) {
    running.present = true;
    TRY_ASSIGN(const Mapping memory, map_pin(instance.pins("txn/word")));
    const auto* word = memory.as<ps_txn>();
    running.transaction = Transaction{word->from, word->to, __atomic_load_n(&word->deadline, __ATOMIC_ACQUIRE), word->start, word->window};
  }
  for (fs::directory_iterator it(instance.bpf, error), end; !error && it != end; it.increment(error)) {
    uint64_t number = 0;
    if (number_after(it->path().filename(), "gen-", number)) running.generations.push_back(number);
  }
  error.clear();
  for (fs::directory_iterator it(instance.pins("links"), error), end; !error && it != end; it.increment(error)) {
    uint64_t ifindex = 0;
    if (number_after(it->path().filename(), "tc-", ifindex)) {
      TRY_ASSIGN(const Fd link, open_pin(it->path()));
      TRY_ASSIGN(const LinkInfo info, link_info(link.get()));
      running.tc_links.push_back({static_cast<uint32_t>(ifindex), info});
      running.present = true;
      continue;
    }
    if (!number_after(it->path().filename(), "xdp-", ifindex)) continue;
    TRY_ASSIGN(const Fd link, open_pin(it->path()));
    RunningLink found;
    found.ifindex = static_cast<uint32_t>(ifindex);
    TRY_ASSIGN(found.info, link_info(link.get()));
    if (found.info.ifindex != 0) {
      found.device = device_name(found.info.ifindex);
      if (auto attached = query_xdp(found.info.ifindex)) found.mode = attached->mode;
    }
    running.present = true;
    running.links.push_back(std::move(found));
  }
  std::sort(running.links.begin(), running.links.end(), [](auto& a, auto& b) { return a.ifindex < b.ifindex; });
  std::sort(running.generations.begin(), running.generations.end());
  // Where one device is all there is, its link is the switch (core/plan/transaction.cpp), and tells what was decided.
  if (Transaction* t = running.transaction ? &*running.transaction : nullptr; t && t->deadline == 0 && generation_of_links(instance, running) == t->to) {
    t->deadline = PS_GATE_FOREVER;
    t->start = 0;
  }
  if (!fs::exists(instance.pins("state"), error)) running.state.generation = generation_of_links(instance, running);
  return running;
}

}  // namespace penstock
