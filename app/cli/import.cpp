// penstock import
#include "app/import/import.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/cli/command.h"
#include "core/base/diagnostic.h"
#include "core/base/fd.h"
#include "core/config/reader.h"

namespace penstock {
namespace {

using foreign::Left;

Result<std::vector<foreign::Source>> read_all(const std::vector<std::string>& paths) {
  std::vector<foreign::Source> out;
  for (const std::string& path : paths) {
    TRY_ASSIGN(std::string text, read_text(path == "-" ? "/dev/stdin" : path, {.bytes = 256u << 20}));
    out.push_back({path == "-" ? "standard input" : path, std::move(text)});
  }
  return out;
}

Result<> write_file(const std::string& path, std::string_view text) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (fd.get() < 0) return fail_errno("cannot write " + path, errno);
  while (!text.empty()) {
    const ssize_t done = write(fd.get(), text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return fail_errno("cannot write " + path, errno);
    text.remove_prefix(static_cast<size_t>(done));
  }
  return {};
}

Diagnostic diagnostic_of(const Left& left) {
  Diagnostic d{fmt::format("left out: {}", left.reason), {left.place.file, left.place.line}, left.place.line ? left.place.text : ""};
  if (!left.place.line) d.detail.push_back(left.place.text);
  if (const std::string effect = effect_text(left.effect); !effect.empty()) d.detail.push_back(effect);
  d.hint = left.hint;
  return d;
}

// What stood in the file but bears on no packet on the way that was imported: together, by file and reason.
void warn_of_the_rest(const Output& out, const std::vector<Left>& left) {
  std::vector<Diagnostic> groups;
  for (const Left& one : left) {
    if (one.counts) continue;
    const std::string message = "left out: " + one.reason;
    auto group = std::ranges::find_if(groups, [&](const Diagnostic& d) { return d.message == message && d.at.file == one.place.file; });
    if (group == groups.end()) group = groups.insert(groups.end(), Diagnostic{message, {one.place.file}, "", one.hint});
    group->detail.push_back(one.place.line ? fmt::format("{} | {}", one.place.line, one.place.text) : one.place.text);
  }
  for (const Diagnostic& group : groups) out.warn(group);
}

constexpr const char* effect_words[] = {"none", "drops-more", "passes-more", "both"};

Json left_json(const Left& left) {
  return {{"file", left.place.file}, {"line", left.place.line ? Json(left.place.line) : Json(nullptr)}, {"text", left.place.text}, {"reason", left.reason},
          {"hint", left.hint.empty() ? Json(nullptr) : Json(left.hint)}, {"effect", effect_words[static_cast<int>(left.effect)]}, {"on_the_way", left.counts}};
}

int run(const Invocation& in) {
  const std::string format = in.argument("FORMAT");
  auto sources = read_all(in.all_arguments("FILE"));
  if (!sources) return in.out.fail(sources.error());
  auto ipsets = read_all(in.all_options("--ipset"));
  if (!ipsets) return in.out.fail(ipsets.error());
  foreign::Options options;
  options.chain = in.option("--chain").value_or("INPUT");
  options.devices = in.all_options("--interface");
  options.approximate_state = in.has("--approximate-state");
  if (const auto policy = in.option("--default")) options.policy = *policy == "drop" ? foreign::Verdict::drop : foreign::Verdict::accept;
  auto imported = foreign::import_rules(format, *sources, *ipsets, options);
  if (!imported) return in.out.fail(imported.error());
  const foreign::Flat& flat = imported->flat;

  size_t counts = 0, more = 0, approximated = 0;
  Json left = Json::array(), nearly = Json::array();
  for (const Left& one : flat.left) {
    counts += one.counts;
    more += one.effect == foreign::Effect::drops_more || one.effect == foreign::Effect::both;
    left.push_back(left_json(one));
    if (one.counts) in.out.warn(diagnostic_of(one));
  }
  warn_of_the_rest(in.out, flat.left);
  for (const foreign::NewPolicy& policy : flat.policies)
    for (const foreign::Entry& entry : policy.entries) {
      if (entry.approximation.empty() || !entry.line) continue;
      ++approximated;
      nearly.push_back({{"file", entry.line->place.file}, {"line", entry.line->place.line}, {"text", entry.line->place.text}, {"how", entry.approximation}});
    }
  const bool strict = in.has("--strict") && (counts || approximated);
  if (strict) {
    Error error(fmt::format("{} rules on the way of the packets were left out, {} approximated, and --strict allows none", counts, approximated));
    if (in.out.is_json())
      for (const Left& one : flat.left)
        if (one.counts) error.diagnostics.push_back(diagnostic_of(one));
    return in.out.fail(error);
  }
  const auto output = in.option("--output");
  if (output)
    if (auto written = write_file(*output, imported->yaml); !written) return in.out.fail(written.error());
  Json json = {{"rules", flat.lines}, {"translated", flat.said}, {"left_out", std::move(left)}, {"approximated", std::move(nearly)}, {"notes", flat.notes},
               {"output", output ? Json(*output) : Json(nullptr)}};
  if (!output) json["yaml"] = imported->yaml;
  in.out.json(json);
  if (!output) in.out.print(imported->yaml);
  if (in.out.is_json()) return 0;
  std::fflush(stdout);
  for (const std::string& note : flat.notes) fmt::print(stderr, "note: {}\n", note);
  fmt::print(stderr, "{} of {} rules translated, {} left out{}{}\n", flat.said, flat.lines, flat.left.size(),
             approximated ? fmt::format(", {} approximated (not the same verdicts)", approximated) : "",
             more ? fmt::format("\n{} of those left out accept packets that the new file drops: read them before you apply it", more) : "");
  return 0;
}

}  // namespace

const Command command_import = {
    .name = "import",
    .summary = "translate the rules of iptables, nft or ufw into a file",
    .description =
        "Reads the rules of another firewall and writes a node's file with the same verdicts, as far as they can be said. FORMAT is iptables-save (what "
        "iptables-save and ip6tables-save print; both may be given), nft-json (what `nft -j list ruleset` prints) or ufw (user.rules and user6.rules of "
        "/etc/ufw, and before*.rules and after*.rules where they are given too). A FILE of `-` is the standard input.\n\n"
        "Chains that jump into one another become one list; chains of earlier hooks become policies of their own. Every rule that cannot be said is listed "
        "on the standard error, with its line, the reason and what that changes; it stands as a comment in its place in the file, and in JSON under left_out. "
        "penstock keeps no state of connections: rules that ask for it are left out, or with --approximate-state told nearly, which the file says beside each.\n\n"
        "The policies judge what comes in on the devices that the rules name, or that --interface names; the loopback is left alone. Without --output the file "
        "is printed.",
    .arguments = {{.name = "FORMAT", .description = "iptables-save, nft-json or ufw", .kind = Kind::choice, .choices = {"iptables-save", "nft-json", "ufw"}},
                  {.name = "FILE", .description = "what the other firewall prints or keeps", .kind = Kind::path, .many = true}},
    .options = {{.name = "--output", .metavar = "FILE", .description = "write the new file there", .kind = Kind::path},
                {.name = "--chain", .metavar = "CHAIN", .description = "INPUT (the default), FORWARD, or one chain by its name or TABLE/NAME", .kind = Kind::text},
                {.name = "--interface", .metavar = "DEVICE", .description = "attach to this device, or pattern of devices; may be repeated", .kind = Kind::device, .repeat = true},
                {.name = "--default", .metavar = "ACTION", .description = "in the place of the chain's own policy: accept or drop", .kind = Kind::choice, .choices = {"accept", "drop"}},
                {.name = "--ipset", .metavar = "FILE", .description = "the members of ipsets, as `ipset save` prints them; may be repeated", .kind = Kind::path, .repeat = true},
                {.name = "--approximate-state", .description = "tell rules on the state of connections nearly: not the same verdicts"},
                {.name = "--strict", .description = "fail, and write nothing, if a rule on the way of the packets was left out or approximated"}},
    .examples = {{"iptables-save | penstock import iptables-save - --interface eth0 --output node.yaml"},
                 {"nft -j list ruleset | penstock import nft-json - > node.yaml"},
                 {"penstock import ufw /etc/ufw/user.rules /etc/ufw/user6.rules"}},
    .exits = {{Exit::done, "the file was written; rules may have been left out, and are listed"},
              {Exit::failed, "a FILE is not of FORMAT, or --strict and a rule was left out or approximated"},
              {Exit::usage, "wrong usage"}},
    .run = run,
};

}  // namespace penstock
