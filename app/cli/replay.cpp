// penstock replay
#include "app/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "app/cli/command.h"
#include "app/compile.h"
#include "core/base/diagnostic.h"
#include "core/net/pcap.h"

namespace penstock {
namespace {

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

void report(const Output& out, uint64_t number, const CapturedPacket& packet, const Judged& judged) {
  const Slot none;
  const Slot& slot = judged.decided ? *judged.decided : none;
  const bool left = judged.verdict == PS_PASS || judged.verdict == PS_TX || judged.verdict == PS_REDIRECT;
  const size_t out_length = left ? judged.bytes.size() : 0;
  if (out.is_json()) {
    Json line = {{"packet", number}, {"verdict", verdict_name(judged.verdict)}, {"reason", reason_name(slot.reason)},
                 {"policy", text_or_null(slot.policy)}, {"rule", text_or_null(slot.rule)}, {"at", text_or_null(slot.at.text())},
                 {"length", packet.bytes.size()}, {"out_length", out_length}};
    if (!slot.service.empty()) line["service"] = slot.service;
    if (!slot.backend.empty()) line["backend"] = slot.backend;
    if (judged.audited) line["audit"] = judged.audited->policy + "/" + judged.audited->rule;
    out.json_line(line);
    return;
  }
  const std::string who = slot.interface.empty() ? slot.owner() : std::string();
  const Style style = left ? Style::good : Style::bad;
  // Widths are of the text, not of the colours around it.
  const std::string verdict = out.styled(style, fmt::format("{:<8}", verdict_name(judged.verdict)));
  out.print(fmt::format("{:>8}  {}  {:<10}  {:<24}  {:>5}  {}{}\n", number, verdict, reason_name(slot.reason), who, packet.bytes.size(), slot.at.text(),
                        judged.audited ? fmt::format("  audit: {}/{} would drop it", judged.audited->policy, judged.audited->rule) : ""));
}

Result<size_t> choose_hook(const Image& image, const std::string& interface) {
  if (const auto hook = hook_of(image, interface)) return *hook;
  std::vector<std::string> names;
  for (const HookImage& hook : image.hooks) names.push_back(hook.interface);
  return fail(fmt::format("the file has no interface `{}`", interface), suggest(interface, names));
}

// "10.0.1.11=02:00:00:00:01:11"
Result<std::pair<Address, Mac>> read_neighbor(const std::string& text) {
  const size_t equals = text.find('=');
  const auto address = Address::parse(std::string_view(text).substr(0, equals));
  const auto mac = equals == text.npos ? std::nullopt : Mac::parse(std::string_view(text).substr(equals + 1));
  if (!address || !mac) return fail(fmt::format("`{}` is no neighbour", text), "write --neighbor ADDRESS=MAC, as 10.0.1.11=02:00:00:00:01:11");
  return std::pair{*address, *mac};
}

Result<> replay(const Invocation& in) {
  TRY_ASSIGN(const Config config, load_config(in.argument("FILE")));
  TRY_ASSIGN(const Image image, compile(config));
  TRY_ASSIGN(const size_t hook, choose_hook(image, *in.option("--on")));
  const std::string input = *in.option("--pcap");
  TRY_ASSIGN(PcapReader reader, PcapReader::open(input));
  TRY_ASSIGN(Replay programs, Replay::open(image, World::replay));
  for (const std::string& text : in.all_options("--neighbor")) {
    TRY_ASSIGN(const auto neighbor, read_neighbor(text));
    TRY(programs.set_neighbor(neighbor.first, neighbor.second));
  }
  std::error_code ignored;
  const uint64_t size = std::filesystem::file_size(input, ignored);

  std::optional<PcapWriter> writer;
  LinkType writer_link = LinkType::ethernet;
  const auto output = in.option("--out");
  if (output && std::filesystem::equivalent(*output, input, ignored)) return fail("--out names the capture that is read");
  Progress progress(input);
  CapturedPacket packet;
  uint64_t number = 0, now = 0;
  size_t counts[5] = {};
  for (;;) {
    auto more = reader.next(packet);
    if (!more) return Failure(std::move(more).error());
    if (!*more) break;
    ++number;
    now = std::max(now, packet.time);  // held when timestamps go back
    auto judged = programs.run(hook, packet.bytes, packet.link == LinkType::raw_ip, now);
    if (!judged) {
      Error error = std::move(judged).error();
      error.diagnostics.front().message = fmt::format("{}: packet {}: {}", input, number, error.message());
      return Failure(std::move(error));
    }
    ++counts[std::min<unsigned>(judged->verdict, 4)];
    report(in.out, number, packet, *judged);
    if (output && !writer) {
      TRY_ASSIGN(writer, PcapWriter::create(*output, packet.link));
      writer_link = packet.link;
    }
    if (writer && packet.link != writer_link)
      return fail(fmt::format("{}: packet {} has another link type than those before it, which a pcap file cannot hold", input, number), "leave out --out");
    if (writer && (judged->verdict == PS_PASS || judged->verdict == PS_TX || judged->verdict == PS_REDIRECT))
      TRY(writer->write(packet.time, judged->bytes));
    progress.update(reader.offset(), size);
  }
  if (output && !writer) {  // an empty capture leaves an empty capture
    TRY_ASSIGN(writer, PcapWriter::create(*output, LinkType::ethernet));
  }
  if (writer) TRY(writer->close());
  std::string summary;
  for (unsigned v = 0; v < std::size(counts); ++v)
    if (counts[v]) summary += fmt::format(", {} {}", counts[v], verdict_name(v));
  in.out.print(fmt::format("{} packet{}{}\n", number, number == 1 ? "" : "s", summary));
  return {};
}

int run(const Invocation& in) {
  if (auto done = replay(in); !done) return in.out.fail(done.error());
  return 0;
}

}  // namespace

const Command command_replay = {
    .name = "replay",
    .summary = "run a capture through the programs of a file, without any interface",
    .description =
        "Compiles FILE, loads the same programs that apply would attach, and runs each packet of a capture (pcap or pcapng, Ethernet or raw IP) through "
        "them with empty state. For each packet it prints number, verdict (pass, drop, redirect, tx, aborted), reason, policy and rule, length, and the "
        "place in FILE that decided. Interfaces of FILE need not exist on this machine.\n\n"
        "The clock is that of the capture; it is held when timestamps go back. No socket of this host is found by `socket: yes`. What a policy in audit "
        "mode would drop passes, and the line says so (in JSON by the key `audit`). With --json there is one object a line, with the keys packet, verdict, "
        "reason, policy, rule, at, length and out_length (0 where the packet did not leave), and where a service took the packet its name and the backend's by "
        "the keys service and backend.\n\n"
        "A packet for a service's backend leaves as it would for a next hop behind the interface that it came by, with the VLAN tags that it has; the next hop's "
        "MAC is that of --neighbor, else 02:00:00:00:00:fe. Where the file names no outer source, 192.0.0.8 or 100::8 stands for this node's address.",
    .arguments = {{.name = "FILE", .description = "the node's file", .kind = Kind::path}},
    .options = {{.name = "--on", .metavar = "INTERFACE", .description = "the interface of FILE that the packets arrive on", .kind = Kind::text, .required = true},
                {.name = "--pcap", .metavar = "IN", .description = "the capture", .kind = Kind::path, .required = true},
                {.name = "--out", .metavar = "OUT", .description = "write the packets that were not dropped, as they left, to this pcap file", .kind = Kind::path},
                {.name = "--neighbor", .metavar = "ADDRESS=MAC", .description = "the next hop towards a backend's address", .kind = Kind::text, .repeat = true}},
    .examples = {{"penstock replay node.yaml --on wan --pcap yesterday.pcap --out kept.pcap"}},
    .exits = {{Exit::done, "every packet was run"}, {Exit::failed, "FILE or the capture is bad, or the programs could not be loaded"}, {Exit::usage, "wrong usage"}},
    .run = run,
};

}  // namespace penstock
