// penstock service
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "app/agent/live_node.h"
#include "app/cli/change.h"
#include "core/base/diagnostic.h"
#include "core/plan/revisions.h"
#include "features/services/state.h"

namespace penstock {
namespace {

// What runs, with the services of its file.
struct Live {
  Instance instance;
  Running running;
  Revision revision;
  std::vector<Service> services;
  FlowsNow flows;
};

Result<Live> look(const Invocation& in) {
  Live out;
  TRY_ASSIGN(out.instance, Instance::named(in.globals.instance));
  TRY_ASSIGN(out.running, observe(out.instance));
  const uint64_t active = out.running.active(coarse_now());
  const Revisions revisions(out.instance);
  auto revision = revisions.head(active);
  if (active == 0 || !revision) return fail("nothing of penstock runs here", "apply a file with `services:` first");
  out.revision = std::move(*revision);
  TRY_ASSIGN(out.services, services_in(revisions.file(out.revision.number)));
  TRY_ASSIGN(out.flows, flows_now(out.instance, active));
  return out;
}

// The ids of SERVICE/BACKEND, or of all backends of SERVICE.
Result<std::vector<uint32_t>> ids_of(const Live& live, const std::string& name) {
  std::vector<uint32_t> out;
  std::vector<std::string> known;
  for (const BackendImage& b : live.revision.backends) {
    const std::string full = b.service + "/" + b.backend;
    known.push_back(full);
    if (name == full || name == b.service) out.push_back(b.id);
  }
  if (out.empty()) return fail(fmt::format("no service and no backend `{}` runs", name), did_you_mean(name, known));
  return out;
}

const char* words_of(const ps_service_state& s, const Backend& b) {
  if (b.state == BackendState::maintenance) return "maintenance";
  const uint8_t file = b.state == BackendState::up ? PS_BACKEND_UP : b.state == BackendState::draining ? PS_BACKEND_DRAINING : PS_BACKEND_DOWN;
  return state_name(std::max({file, s.health, s.admin}));
}

Result<> list(const Invocation& in) {
  TRY_ASSIGN(const Live live, look(in));
  TRY_ASSIGN(const auto states, read_states(live.instance, live.revision.generation));
  const std::string wanted = in.argument("NAME");
  Json all = Json::array();
  std::string text;
  for (const Service& service : live.services) {
    if (!wanted.empty() && wanted != service.name) continue;
    Json entry = {{"service", service.name}, {"frontends", Json::array()}, {"backends", Json::array()}};
    text += service.name + " ";
    for (const Frontend& f : service.frontends) {
      entry["frontends"].push_back(f.text());
      text += " " + f.text();
    }
    text += '\n';
    for (const Backend& b : service.backends) {
      const auto image = std::ranges::find_if(live.revision.backends, [&](const BackendImage& i) { return i.service == service.name && i.backend == b.name; });
      const uint32_t id = image == live.revision.backends.end() ? 0 : image->id;
      const auto found = states.find(id);
      const ps_service_state state = found == states.end() ? ps_service_state{} : found->second;
      const auto flows = live.flows.live.find(id);
      const uint64_t connections = flows == live.flows.live.end() ? 0 : flows->second;
      const std::string where = b.address ? b.address->text() : "local";
      entry["backends"].push_back({{"backend", b.name}, {"address", where}, {"weight", b.weight}, {"state", words_of(state, b)}, {"drained", state.admin == PS_BACKEND_DRAINING}, {"flows", connections}});
      text += fmt::format("  {:<20} {:<40} weight {:>5}  {:<12} {:>12} connections\n", b.name, where, b.weight, words_of(state, b), count_text(connections));
    }
    all.push_back(std::move(entry));
  }
  if (!wanted.empty() && all.empty()) {
    std::vector<std::string> known;
    for (const Service& service : live.services) known.push_back(service.name);
    return fail(fmt::format("no service `{}` runs", wanted), did_you_mean(wanted, known));
  }
  in.out.json({{"services", std::move(all)}});
  in.out.print(text.empty() ? "no services\n" : text);
  return {};
}

// In every generation that may judge packets: a candidate that waits, and the one before it.
Result<> order(const Invocation& in, uint8_t admin) {
  TRY_ASSIGN(const Live live, look(in));
  TRY_ASSIGN(const std::vector<uint32_t> ids, ids_of(live, in.argument("NAME")));
  TRY_ASSIGN(const Fd lock, lock_states(live.instance));
  const Revisions revisions(live.instance);
  for (const uint64_t generation : live.running.generations) {
    auto revision = revisions.head(generation);
    if (!revision) continue;
    TRY_ASSIGN(const std::vector<Service> services, services_in(revisions.file(generation)));
    TRY_ASSIGN(const std::vector<ps_service_state> now, states_of(live.instance, generation, ids));
    std::map<uint32_t, ps_service_state> changed;
    for (size_t i = 0; i < ids.size(); ++i) {
      changed[ids[i]] = now[i];
      changed[ids[i]].admin = admin;
    }
    TRY(write_states(live.instance, generation, services, revision->backends, changed));
  }
  in.out.json({{"backends", ids.size()}, {"state", state_name(admin)}});
  in.out.print(fmt::format("{} backend{}: {}\n", ids.size(), ids.size() == 1 ? "" : "s", admin == PS_BACKEND_UP ? "as the file and the checks say" : "draining"));
  return {};
}

Result<> flush(const Invocation& in) {
  TRY_ASSIGN(const Live live, look(in));
  TRY_ASSIGN(const std::vector<uint32_t> ids, ids_of(live, in.argument("NAME")));
  TRY_ASSIGN(const uint64_t forgotten, forget_flows(live.instance, live.revision.generation, ids));
  in.out.json({{"forgotten", forgotten}});
  in.out.print(fmt::format("{} connection{} forgotten\n", count_text(forgotten), forgotten == 1 ? "" : "s"));
  return {};
}

int run(const Invocation& in) {
  const std::string action = in.argument("ACTION");
  if (action != "list" && in.argument("NAME").empty()) {
    Diagnostic d{fmt::format("`penstock service {}` needs a name", action)};
    d.hint = "SERVICE/BACKEND, or SERVICE for all of its backends";
    return in.out.fail(Error(std::move(d), Exit::usage));
  }
  const auto done = action == "list" ? list(in) : action == "drain" ? order(in, PS_BACKEND_DRAINING) : action == "undrain" ? order(in, PS_BACKEND_UP) : flush(in);
  return done ? 0 : in.out.fail(done.error());
}

}  // namespace

const Command command_service = {
    .name = "service",
    .summary = "show services and their backends; drain a backend",
    .description =
        "`list` shows each service with its frontends, and each backend with its state and the connections that the flow table holds of it.\n\n"
        "`drain` takes a backend out of the choice for new connections at once, without an apply; those that it has stay. `undrain` takes that back. The order survives an apply, "
        "a rollback and the death of every process; it is gone with `penstock off`. `flush` forgets the connections of a backend: their next packets are balanced anew.",
    .arguments = {{.name = "ACTION", .description = "what to do", .kind = Kind::choice, .choices = {"list", "drain", "undrain", "flush"}},
                  {.name = "NAME", .description = "SERVICE, or SERVICE/BACKEND", .kind = Kind::text, .optional = true}},
    .examples = {{"penstock service list --json"}, {"penstock service drain web/b1", "before its maintenance"}},
    .run = run,
};

}  // namespace penstock
