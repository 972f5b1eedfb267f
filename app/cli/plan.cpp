// penstock plan
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/cli/change.h"

namespace penstock {

static int run(const Invocation& in) {
  auto instance = Instance::named(in.globals.instance);
  if (!instance) return in.out.fail(instance.error());
  auto prepared = prepare(*instance, in.argument("FILE"));
  if (!prepared) return in.out.fail(prepared.error());
  const auto judged = judge(*instance, *prepared);
  for (const Diagnostic& d : prepared->warnings) in.out.warn(d);
  for (const Diagnostic& d : prepared->plan.fallbacks) in.out.warn(d);
  if (!judged) {
    in.out.print(plan_text(in.out, *prepared));
    return in.out.fail(judged.error());
  }
  in.out.json(plan_json(*prepared));
  if (prepared->plan.empty())
    in.out.print(fmt::format("nothing to do: revision {} runs and says the same\n", prepared->running.state.generation));
  in.out.print(plan_text(in.out, *prepared));
  return 0;
}

const Command command_plan = {
    .name = "plan",
    .summary = "show what apply would do, and do nothing",
    .description = "Prints the list of actions that `penstock apply FILE` would carry out, each with its impact, and the risks that it would refuse to take.",
    .arguments = {{.name = "FILE", .description = "the node's file", .kind = Kind::path}},
    .examples = {{"penstock plan node.yaml"}},
    .run = run,
};

}  // namespace penstock
