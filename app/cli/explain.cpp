// penstock explain
#include "app/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "app/cli/change.h"
#include "core/base/diagnostic.h"
#include "core/net/packet_text.h"
#include "core/net/pcap.h"
#include "core/plan/attachments.h"

namespace penstock {
namespace {

constexpr size_t ethernet_header = 14;

Failure usage(std::string message, std::string hint = {}) {
  Diagnostic d{std::move(message)};
  d.hint = std::move(hint);
  return fail(std::move(d), Exit::usage);
}

// The hook that the packet arrives at: of an interface of the file, or of a device that one matches.
Result<size_t> hook_named(const Image& image, const std::string& name) {
  if (const auto hook = hook_of(image, name)) return *hook;
  const std::vector<Device> devices = list_devices();
  if (auto all = attachments_of(image.hooks, devices))
    for (const Attachment& a : *all)
      if (a.device.name == name) return a.hook;
  std::vector<std::string> names;
  for (const HookImage& hook : image.hooks) names.push_back(hook.interface);
  return fail(fmt::format("no interface is named `{}`, and no interface matches a device of this name", name), suggest(name, names));
}

struct Capture {
  std::string path;
  std::optional<uint64_t> number;  // of one packet, from 1
};

// FILE or FILE:N; a file whose name has such an end is meant when it exists.
Capture capture_named(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || access(text.c_str(), F_OK) == 0) return {text, {}};
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + colon + 1, end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end || number == 0) return {text, {}};
  return {text.substr(0, colon), number};
}

Json place(const Config& config, const Location& at) {
  const std::string line = source_line(config, at);
  return {{"at", at.known() ? Json(at.text()) : Json()}, {"source_line", line.empty() ? Json() : Json(line)}};
}

Json rule_json(const Config& config, const Slot& slot) {
  Json out = {{"policy", slot.policy}, {"rule", slot.rule}, {"verdict", verdict_name(slot.verdict)}};
  out.update(place(config, slot.at));
  return out;
}

class Printer {
 public:
  Printer(const Invocation& in, const ExplainSource& source) : in_(in), source_(source) {}

  // `many`: of several packets, one object a line.
  void print(const std::string& what, size_t length, const Explanation& e, bool many) {
    if (in_.out.is_json()) return json(what, length, e, many);
    if (printed_++) in_.out.print("\n");
    in_.out.print(in_.out.styled(Style::bold, fmt::format("{} on {}, {} bytes", what, *in_.option("--on"), length)) + "\n");
    if (printed_ == 1) in_.out.print(in_.out.styled(Style::dim, origin()) + "\n");
    for (const std::string& line : explanation_lines(e, source_.config)) {
      const bool verdict = line.starts_with("verdict");
      const bool lost = e.judged.verdict == PS_DROP || e.judged.verdict == PS_ABORTED;
      in_.out.print("  " + (verdict ? in_.out.styled(lost ? Style::bad : Style::good, line) : line) + "\n");
    }
  }

 private:
  std::string origin() const {
    if (!source_.running) return fmt::format("judged as if {} were applied, with empty state", source_.config.file);
    return fmt::format("judged by what runs: revision {} of {}", source_.running->revision.number, source_.running->revision.source);
  }

  void json(const std::string& what, size_t length, const Explanation& e, bool many) const {
    const Slot none;
    const Slot& decided = e.judged.decided ? *e.judged.decided : none;
    Json steps = Json::array(), also = Json::array();
    for (const Step& s : e.steps) {
      Json step = {{"stage", s.stage}, {"text", s.text}};
      step.update(place(source_.config, s.at));
      steps.push_back(std::move(step));
    }
    for (const Slot* slot : e.also) also.push_back(rule_json(source_.config, *slot));
    const auto or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
    Json out = {{"packet", what}, {"on", *in_.option("--on")}, {"length", length},
                {"revision", source_.running ? Json(source_.running->revision.number) : Json()},
                {"file", source_.running ? source_.running->revision.source : source_.config.file},
                {"verdict", verdict_name(e.judged.verdict)}, {"reason", reason_name(decided.reason)},
                {"policy", or_null(decided.policy)}, {"rule", or_null(decided.rule)},
                {"service", or_null(decided.service)}, {"backend", or_null(decided.backend)}};
    out.update(place(source_.config, decided.at));
    out["audit"] = e.judged.audited ? Json(e.judged.audited->policy + "/" + e.judged.audited->rule) : Json();
    out["steps"] = std::move(steps);
    out["also"] = std::move(also);
    out["more"] = e.more;
    if (!many) return in_.out.json(out);
    Json line = {{"schema", fmt::format("penstock/explain/{}", in_.command.schema)}};
    line.update(out);
    in_.out.json_line(line);
  }

  const Invocation& in_;
  const ExplainSource& source_;
  size_t printed_ = 0;
};

Result<ExplainSource> source_of(const Invocation& in) {
  if (const auto file = in.option("--file")) return ExplainSource::of_file(*file);
  TRY_ASSIGN(const Instance instance, Instance::named(in.globals.instance));
  return ExplainSource::of_running(instance);
}

Result<> explain_capture(const Invocation& in, const ExplainSource& source, size_t hook, const std::string& name) {
  const Capture capture = capture_named(name);
  TRY_ASSIGN(PcapReader reader, PcapReader::open(capture.path));
  Explainer explainer(source.config, source.programs(), *source.replay);
  Printer printer(in, source);
  CapturedPacket packet;
  uint64_t number = 0;
  for (;;) {
    TRY_ASSIGN(const bool more, reader.next(packet));
    if (!more) break;
    ++number;
    if (capture.number && number != *capture.number) continue;
    TRY_ASSIGN(const Explanation e, explainer.explain(hook, packet.bytes, packet.link == LinkType::raw_ip, 0));
    printer.print(fmt::format("packet {} of {}", number, capture.path), packet.bytes.size(), e, !capture.number);
    if (capture.number) return {};
  }
  if (capture.number) return fail(fmt::format("{} has {} packet{}, there is no packet {}", capture.path, number, number == 1 ? "" : "s", *capture.number));
  return {};
}

Result<> explain(const Invocation& in) {
  const std::string text = in.argument("PACKET");
  const auto capture = in.option("--pcap");
  if (text.empty() == !capture) return usage(capture ? "a packet and a capture: which is meant?" : "which packet?", "write it as in \"tcp 192.0.2.7:4000 > 198.51.100.9:22 syn\", or name a capture with --pcap");
  std::vector<uint8_t> frame;
  if (!capture) {
    TRY_ASSIGN(frame, packet_from_text(text));
  }
  TRY_ASSIGN(const ExplainSource source, source_of(in));
  const Image& image = source.programs();
  TRY_ASSIGN(const size_t hook, hook_named(image, *in.option("--on")));
  if (capture) return explain_capture(in, source, hook, *capture);
  if (image.hooks[hook].raw) frame.erase(frame.begin(), frame.begin() + ethernet_header);
  Explainer explainer(source.config, image, *source.replay);
  TRY_ASSIGN(const Explanation e, explainer.explain(hook, frame, false, 0));
  Printer(in, source).print(text, frame.size(), e, false);
  return {};
}

int run(const Invocation& in) {
  auto done = explain(in);
  return done ? 0 : in.out.fail(done.error());
}

}  // namespace

const Command command_explain = {
    .name = "explain",
    .summary = "say what would happen to a packet, and why",
    .description =
        "Runs a packet through the programs that judge now, loaded a second time over the live tables and state, so that nothing is counted, stored or sent. "
        "Prints each stage that it passes, the sets that were asked and the element that was found, the verdict, its reason and the rule with its line; then "
        "the rules behind that one that match the packet too, in order. Places are those of the revision that runs, whatever became of its files since. With "
        "--file the packet meets the programs of FILE with empty state; nothing of what runs is looked at but the sockets of this host.\n\n"
        "PACKET is written like the `packet` of a test. With --pcap the packets of a capture are explained, or only number N of FILE:N; each meets the state as it is "
        "now, none changes it for the next. With --json there is one object, for a whole capture one a line: packet, on, length, revision (null with --file), "
        "file, verdict, reason, policy, rule, at, source_line, audit, steps (stage, text, at, source_line), also (policy, rule, verdict, at, source_line) and more "
        "(true where `also` was cut off).",
    .arguments = {{.name = "PACKET", .description = "the packet, in quotes", .optional = true}},
    .options = {{.name = "--on", .metavar = "INTERFACE", .description = "the interface of the file that it arrives on, or a device", .kind = Kind::text, .required = true},
                {.name = "--file", .metavar = "FILE", .description = "judge as if FILE were applied", .kind = Kind::path},
                {.name = "--pcap", .metavar = "FILE[:N]", .description = "explain the packets of a capture, or its packet N", .kind = Kind::path}},
    .examples = {{"penstock explain \"tcp 192.0.2.7:4000 > 198.51.100.9:22 syn\" --on wan", "what happens to this packet now"},
                 {"penstock explain \"udp 192.0.2.7:53 > 198.51.100.9:4000\" --on wan --file node.yaml", "before it is applied"},
                 {"penstock explain --pcap lost.pcap:3 --on wan --json"}},
    .exits = {{Exit::done, "explained, whatever the verdict"}, {Exit::failed, "the packet cannot be read, nothing runs, or the programs could not be loaded"}, {Exit::usage, "wrong usage"}},
    .run = run,
};

}  // namespace penstock
