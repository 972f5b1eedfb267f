// flood: sends packets as fast as the kernel can make them (BPF_F_TEST_XDP_LIVE_FRAMES), or at a steady rate.
// Always bounded: by --count or by --seconds.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <sched.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <expected>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "lab/flood.h"

// The object file, embedded by lab/CMakeLists.txt.
extern "C" const unsigned char flood_object[], flood_object_end[];

namespace {

template <class T>
using Result = std::expected<T, std::string>;

volatile std::sig_atomic_t stopped = 0;

struct Options {
  std::string dev, sources, spoofed = "0.0.0.0/0", spoofed6 = "2000::/3", dst, dst6, dst_mac = "ff:ff:ff:ff:ff:ff";
  std::string src_mac = "02:00:00:00:00:66", proto = "udp", unlisted_proto, share = "1:0", program;
  std::uint64_t count = 0, rate = 0, seed = 1;
  double seconds = 0, unlisted6 = 0;
  unsigned size = 0, threads = 1, batch = 0;
  std::uint16_t dport = 9, unlisted_dport = 0;
  bool drop = false, json = false, syn_options = false;
};

struct Sources {
  std::vector<flood_source4> v4;
  std::vector<flood_source6> v6;
};

// Adds "ADDRESS[/LENGTH]" to <to>; false if it is neither IPv4 nor IPv6.
bool add_prefix(const std::string& text, Sources& to) {
  const auto slash = text.find('/');
  const std::string address = text.substr(0, slash);
  const bool v6 = address.contains(':');
  const int bits = v6 ? 128 : 32;
  int length = bits;
  if (slash != std::string::npos) {
    char* end = nullptr;
    length = static_cast<int>(std::strtol(text.c_str() + slash + 1, &end, 10));
    if (*end != 0 || length < 0 || length > bits) return false;
  }
  flood_source6 raw{};
  if (inet_pton(v6 ? AF_INET6 : AF_INET, address.c_str(), raw.addr) != 1) return false;
  for (int word = 0; word < bits / 32; ++word) {
    const int fixed = std::clamp(length - word * 32, 0, 32);
    raw.host[word] = fixed == 32 ? 0 : htonl(0xffffffffU >> fixed);
    raw.addr[word] &= ~raw.host[word];
  }
  if (v6) to.v6.push_back(raw);
  else to.v4.push_back({raw.addr[0], raw.host[0]});
  return true;
}

// One prefix a line, # comments.
Result<Sources> read_sources(const std::string& path) {
  Sources sources;
  std::ifstream file(path);
  if (!file) return std::unexpected(fmt::format("{}: {}", path, std::strerror(errno)));
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    line.erase(std::min(line.find('#'), line.size()));
    std::erase_if(line, [](unsigned char c) { return std::isspace(c); });
    if (!line.empty() && !add_prefix(line, sources)) return std::unexpected(fmt::format("{}:{}: not a prefix: {}", path, number, line));
  }
  return sources;
}

// Ones-complement sum, not folded, of the 16-bit words as they lie in memory.
std::uint32_t words(const std::uint8_t* data, std::size_t length) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < length; i += 2) {
    std::uint16_t word;
    std::memcpy(&word, data + i, 2);
    sum += word;
  }
  return sum;
}

Result<flood_frame> make_frame(const Options& options, flood_class kind, bool v6, unsigned size) {
  flood_frame frame{};
  const bool listed = kind == FLOOD_LISTED;
  const std::string& proto = listed || options.unlisted_proto.empty() ? options.proto : options.unlisted_proto;
  const std::uint16_t dport = listed || options.unlisted_dport == 0 ? options.dport : options.unlisted_dport;
  const std::string& dst = v6 ? options.dst6 : options.dst;
  frame.tcp = proto.starts_with("tcp");
  auto* at = frame.header;
  const auto put16 = [&](std::size_t offset, unsigned value) {
    at[offset] = static_cast<std::uint8_t>(value >> 8);
    at[offset + 1] = static_cast<std::uint8_t>(value);
  };
  ether_addr mac{};
  if (!ether_aton_r(options.dst_mac.c_str(), &mac)) return std::unexpected("not a MAC address: " + options.dst_mac);
  std::memcpy(at, &mac, 6);
  if (!ether_aton_r(options.src_mac.c_str(), &mac)) return std::unexpected("not a MAC address: " + options.src_mac);
  std::memcpy(at + 6, &mac, 6);
  put16(12, v6 ? 0x86dd : 0x0800);
  // What a Linux client asks for: segment size, SACK, timestamps, window scale.
  static constexpr std::uint8_t syn_options[] = {2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7};
  const bool with_options = options.syn_options && proto == "tcp-syn";
  const std::size_t ip = 14, l4 = v6 ? 54 : 34, tcp_length = with_options ? 40 : 20;
  // A TCP segment ends with its header, whatever pads the frame, unless a size was asked for: real SYNs bring no data, and a
  // frame that whoever answers it has cut short comes back to be sent again.
  const std::size_t l4_length = frame.tcp && options.size == 0 ? tcp_length : size - l4;
  const std::uint8_t protocol = frame.tcp ? 6 : 17;
  if (v6) {
    at[ip] = 0x60;
    put16(ip + 4, static_cast<unsigned>(l4_length) + (kind == FLOOD_MALFORMED ? 1000 : 0));
    at[ip + 6] = protocol;
    at[ip + 7] = 64;
    if (inet_pton(AF_INET6, dst.c_str(), at + ip + 24) != 1) return std::unexpected("not an IPv6 address: '" + dst + "' (--dst6)");
  } else {
    at[ip] = kind == FLOOD_MALFORMED ? 0x44 : 0x45;
    put16(ip + 2, static_cast<unsigned>(l4 - 14 + l4_length));
    put16(ip + 6, 0x4000);
    at[ip + 8] = 64;
    at[ip + 9] = protocol;
    if (inet_pton(AF_INET, dst.c_str(), at + ip + 16) != 1) return std::unexpected("not an IPv4 address: '" + dst + "' (--dst)");
    frame.ip_sum = words(at + ip, 20);
  }
  put16(l4 + 2, dport);
  if (frame.tcp) {
    if (with_options) std::memcpy(at + l4 + 20, syn_options, sizeof syn_options);
    put16(l4 + 12, static_cast<unsigned>(tcp_length) << 10 | (proto == "tcp-ack" ? 0x10 : 0x02));
    put16(l4 + 14, 64240);
  } else {
    put16(l4 + 4, static_cast<unsigned>(l4_length));
    if (proto == "wireguard-init") at[l4 + 8] = 1;
  }
  // The pseudo header: addresses, protocol, length.  What else the payload holds is zero and adds nothing.
  frame.l4_sum = words(at + (v6 ? ip + 24 : ip + 16), v6 ? 16 : 4) + htons(protocol) + htons(static_cast<std::uint16_t>(l4_length)) +
                 words(at + l4, FLOOD_HEADER - l4);
  return frame;
}

// "LISTED:UNLISTED[:MALFORMED]" as thresholds of 65536.
Result<std::array<std::uint32_t, 2>> read_share(const std::string& text) {
  std::array<double, 3> parts{};
  std::stringstream in(text);
  std::string part;
  std::size_t n = 0;
  double sum = 0;
  while (std::getline(in, part, ':')) {
    char* end = nullptr;
    if (n == parts.size()) return std::unexpected("--share: more than three parts");
    parts[n] = std::strtod(part.c_str(), &end);
    if (part.empty() || *end != 0 || parts[n] < 0) return std::unexpected("--share: not a number: " + part);
    sum += parts[n++];
  }
  if (n < 2 || sum <= 0) return std::unexpected("--share wants LISTED:UNLISTED or LISTED:UNLISTED:MALFORMED");
  // A malformed share of nothing must be exactly nothing.
  return std::array{static_cast<std::uint32_t>(parts[0] / sum * 65536),
                    parts[2] == 0 ? 65536U : static_cast<std::uint32_t>((parts[0] + parts[1]) / sum * 65536)};
}

using Object = std::unique_ptr<bpf_object, decltype(&bpf_object__close)>;

template <class T>
bool fill(int fd, const std::vector<T>& values) {
  std::vector<std::uint32_t> keys(values.size());
  for (std::uint32_t i = 0; i < keys.size(); ++i) keys[i] = i;
  auto n = static_cast<std::uint32_t>(values.size());
  return n == 0 || bpf_map_update_batch(fd, keys.data(), values.data(), &n, nullptr) == 0;
}

// A writable view of the object's constants before it is loaded.
class Constants {
 public:
  explicit Constants(bpf_object* object) : object_(object) {
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object) {
      if (std::string_view(bpf_map__name(map)).ends_with(".rodata"))
        data_ = static_cast<char*>(const_cast<void*>(bpf_map__initial_value(map, &size_)));
    }
  }
  // Offsets come from the object's own BTF, so that the layout is not written down twice.
  template <class T>
  bool set(const char* name, const T& value) {
    const btf* types = bpf_object__btf(object_);
    const int section = btf__find_by_name_kind(types, ".rodata", BTF_KIND_DATASEC);
    if (!data_ || section < 0) return false;
    const btf_type* type = btf__type_by_id(types, static_cast<unsigned>(section));
    const auto* entry = reinterpret_cast<const btf_var_secinfo*>(type + 1);
    for (unsigned i = 0; i < btf_vlen(type); ++i, ++entry) {
      const btf_type* variable = btf__type_by_id(types, entry->type);
      if (std::strcmp(btf__name_by_offset(types, variable->name_off), name) != 0) continue;
      if (entry->size != sizeof value || entry->offset + entry->size > size_) return false;
      std::memcpy(data_ + entry->offset, &value, sizeof value);
      return true;
    }
    return false;
  }

 private:
  bpf_object* object_;
  char* data_ = nullptr;
  std::size_t size_ = 0;
};

// A program by pin path, or by id if <name> is a number.
Result<int> open_program(const std::string& name) {
  const bool id = name.find_first_not_of("0123456789") == std::string::npos;
  const int fd = id ? bpf_prog_get_fd_by_id(static_cast<unsigned>(std::stoul(name))) : bpf_obj_get(name.c_str());
  if (fd < 0) return std::unexpected(fmt::format("program {}: {}", name, std::strerror(errno)));
  return fd;
}

struct Generator {
  Object object{nullptr, bpf_object__close};
  int program = -1, state = -1;
  unsigned ifindex = 0, size = 0;
};

Result<Generator> load_with(const Options& options, const Sources& sources, bool frags) {
  Generator g;
  g.object.reset(bpf_object__open_mem(flood_object, static_cast<std::size_t>(flood_object_end - flood_object), nullptr));
  if (!g.object) return std::unexpected("the generator's own object does not open");
  if (!options.dev.empty()) {
    g.ifindex = if_nametoindex(options.dev.c_str());
    if (g.ifindex == 0) return std::unexpected(fmt::format("{}: {}", options.dev, std::strerror(errno)));
  }
  Sources spoofed;
  if (!add_prefix(options.spoofed, spoofed) || spoofed.v4.empty()) return std::unexpected("--spoofed: not an IPv4 prefix: " + options.spoofed);
  if (!add_prefix(options.spoofed6, spoofed) || spoofed.v6.empty()) return std::unexpected("--spoofed6: not an IPv6 prefix: " + options.spoofed6);
  auto share = read_share(options.share);
  if (!share) return std::unexpected(share.error());
  if ((*share)[0] > 0 && sources.v4.empty() && sources.v6.empty()) return std::unexpected("--share asks for listed sources: --sources names none");
  const bool v6 = !sources.v6.empty() || options.unlisted6 > 0, v4 = !sources.v4.empty() || options.unlisted6 < 1;
  const unsigned longest = (v6 ? 74 : 54) + (options.syn_options ? 20 : 0), header_words = (longest + 7) / 8;
  g.size = std::max({options.size, header_words * 8, 60U});
  std::array<std::array<flood_frame, 2>, FLOOD_CLASSES> frames{};
  for (unsigned kind = 0; kind < FLOOD_CLASSES; ++kind)
    for (bool six : {false, true}) {
      if (six ? !v6 : !v4) continue;
      auto frame = make_frame(options, static_cast<flood_class>(kind), six, g.size);
      if (!frame) return std::unexpected(frame.error());
      frames[kind][six] = *frame;
    }
  Constants constants(g.object.get());
  const auto u32 = [&](const char* name, std::uint64_t value) { return constants.set(name, static_cast<std::uint32_t>(value)); };
  const bool known = u32("out_ifindex", options.drop ? 0 : g.ifindex) && u32("under_test", !options.program.empty()) &&
                     u32("header_words", header_words) && u32("interval_ns", options.rate ? 1'000'000'000ULL * options.threads / options.rate : 0) &&
                     u32("listed_below", (*share)[0]) && u32("unlisted_below", (*share)[1]) && u32("count4", sources.v4.size()) &&
                     u32("count6", sources.v6.size()) && u32("unlisted6_below", static_cast<std::uint64_t>(options.unlisted6 * 65536)) &&
                     constants.set("spoofed4", spoofed.v4[0]) && constants.set("spoofed6", spoofed.v6[0]) && constants.set("frames", frames);
  if (!known) return std::unexpected("the generator's own constants do not fit its object");
  const auto map = [&](const char* name) { return bpf_object__find_map_by_name(g.object.get(), name); };
  bpf_map__set_max_entries(map("sources4"), std::max<std::uint32_t>(1, static_cast<std::uint32_t>(sources.v4.size())));
  bpf_map__set_max_entries(map("sources6"), std::max<std::uint32_t>(1, static_cast<std::uint32_t>(sources.v6.size())));
  bpf_program* program = bpf_object__find_program_by_name(g.object.get(), "flood");
  if (frags) bpf_program__set_flags(program, BPF_F_XDP_HAS_FRAGS);
  if (int error = bpf_object__load(g.object.get())) return std::unexpected(fmt::format("the generator does not load: {}", std::strerror(-error)));
  g.program = bpf_program__fd(program);
  g.state = bpf_map__fd(map("state"));
  if (!fill(bpf_map__fd(map("sources4")), sources.v4) || !fill(bpf_map__fd(map("sources6")), sources.v6))
    return std::unexpected(fmt::format("filling the sources: {}", std::strerror(errno)));
  if (!options.program.empty()) {
    auto fd = open_program(options.program);
    if (!fd) return std::unexpected(fd.error());
    const std::uint32_t zero = 0;
    const int failed = bpf_map_update_elem(bpf_map__fd(map("next")), &zero, &*fd, BPF_ANY);
    close(*fd);
    if (failed) return std::unexpected(fmt::format("program {} cannot be tail-called: {}", options.program, std::strerror(errno)));
  }
  return g;
}

// The program under test may or may not take multi-buffer frames; its caller must be of the same kind.
Result<Generator> load(const Options& options, const Sources& sources) {
  auto g = load_with(options, sources, !options.program.empty());
  if (!g && !options.program.empty()) return load_with(options, sources, false);
  return g;
}

struct Totals {
  double wall = 0, cpu = 0;  // seconds
  std::string error;
};

double now(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// One thread's share.  A call has a fixed cost of tens of milliseconds; the rate may fall while it runs, so with a time
// limit it holds a second's worth at most.
Totals send(const Options& options, const Generator& g, unsigned cpu, std::uint64_t count) {
  Totals totals;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (options.threads > 1 && sched_setaffinity(0, sizeof set, &set) != 0) {
    totals.error = fmt::format("cpu {}: {}", cpu, std::strerror(errno));
    return totals;
  }
  std::vector<char> frame(g.size, 0);
  xdp_md context{};
  context.data_end = g.size;
  if (!options.program.empty()) context.ingress_ifindex = g.ifindex;
  LIBBPF_OPTS(bpf_test_run_opts, run);
  run.data_in = frame.data();
  run.data_size_in = g.size;
  if (context.ingress_ifindex) {
    run.ctx_in = &context;
    run.ctx_size_in = sizeof context;
  }
  run.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  run.batch_size = options.batch ? options.batch : options.rate ? 8 : 64;
  std::uint64_t done = 0;
  std::uint64_t step = options.rate ? std::max<std::uint64_t>(options.rate / options.threads / 4, 1) : 1 << 17;
  const double start = now(CLOCK_MONOTONIC), cpu_start = now(CLOCK_THREAD_CPUTIME_ID);
  while (!stopped && done < count) {
    const double elapsed = now(CLOCK_MONOTONIC) - start;
    if (options.seconds > 0) {
      if (elapsed >= options.seconds) break;
      if (done > 0) step = static_cast<std::uint64_t>(static_cast<double>(done) / elapsed * std::min(options.seconds - elapsed, 1.0)) + 1;
      if (!options.rate) step = std::max<std::uint64_t>(step, 1 << 14);
    } else if (!options.rate || done > 0) {
      step = count - done;
    }
    run.repeat = static_cast<int>(std::min({step, count - done, std::uint64_t{1} << 26}));
    const int error = bpf_prog_test_run_opts(g.program, &run);
    if (error == -EINTR || (error && errno == EINTR)) break;
    if (error) {
      totals.error = fmt::format("the kernel refuses to run the generator: {}", std::strerror(errno));
      break;
    }
    done += static_cast<std::uint64_t>(run.repeat);
  }
  totals.wall = now(CLOCK_MONOTONIC) - start;
  totals.cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu_start;
  return totals;
}

Result<nlohmann::json> run(const Options& options) {
  Sources sources;
  if (!options.sources.empty()) {
    auto read = read_sources(options.sources);
    if (!read) return std::unexpected(read.error());
    sources = std::move(*read);
  }
  auto g = load(options, sources);
  if (!g) return std::unexpected(g.error());
  std::vector<flood_state> cpus(static_cast<std::size_t>(libbpf_num_possible_cpus()));
  const std::uint32_t zero = 0;
  for (std::size_t i = 0; i < cpus.size(); ++i) cpus[i].seed = options.seed + (i << 32);
  if (bpf_map_update_elem(g->state, &zero, cpus.data(), BPF_ANY) != 0) return std::unexpected(std::strerror(errno));
  const std::uint64_t count = options.count ? options.count : UINT64_MAX;
  std::vector<Totals> totals(options.threads);
  std::vector<std::jthread> threads;
  for (unsigned i = 1; i < options.threads; ++i)
    threads.emplace_back([&, i] { totals[i] = send(options, *g, i, options.count ? count / options.threads : count); });
  totals[0] = send(options, *g, 0, options.count ? count - count / options.threads * (options.threads - 1) : count);
  threads.clear();
  if (bpf_map_lookup_elem(g->state, &zero, cpus.data()) != 0) return std::unexpected(std::strerror(errno));
  std::array<std::uint64_t, FLOOD_CLASSES> sent{};
  for (const auto& cpu : cpus)
    for (unsigned kind = 0; kind < FLOOD_CLASSES; ++kind) sent[kind] += cpu.sent[kind];
  double wall = 0, cpu = 0;
  for (const auto& t : totals) {
    if (!t.error.empty()) return std::unexpected(t.error);
    wall = std::max(wall, t.wall);
    cpu += t.cpu;
  }
  const std::uint64_t all = sent[0] + sent[1] + sent[2];
  return nlohmann::json{{"sent", all},
                        {"listed", sent[FLOOD_LISTED]},
                        {"unlisted", sent[FLOOD_UNLISTED]},
                        {"malformed", sent[FLOOD_MALFORMED]},
                        {"seconds", wall},
                        {"pps", wall > 0 ? static_cast<double>(all) / wall : 0},
                        {"cpu_ns_per_packet", all ? cpu * 1e9 / static_cast<double>(all) : 0}};
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Sends packets made by the kernel itself, as fast as it can or at a steady rate; always bounded.", "flood"};
  app.add_option("--dev", o.dev, "device to send from; with --program, the device the packets seem to arrive on");
  app.add_flag("--drop", o.drop, "send nothing: measure what making the packets costs");
  app.add_option("--program", o.program, "hand each packet to this XDP program (pin path or id) instead of sending it");
  auto* count = app.add_option("--count", o.count, "packets to send");
  auto* seconds = app.add_option("--seconds", o.seconds, "seconds to send for")->check(CLI::Range(0.01, 600.0));
  app.add_option("--seed", o.seed, "seed of the random numbers")->capture_default_str();
  app.add_option("--rate", o.rate, "packets a second (default: full speed; one CPU spins)")->check(CLI::Range(100, 10'000'000));
  app.add_option("--threads", o.threads, "threads, one per CPU")->check(CLI::Range(1, 64));
  app.add_option("--batch", o.batch, "frames handed over at once (64; 8 with --rate)")->check(CLI::Range(1, 256));
  app.add_option("--sources", o.sources, "file of prefixes to draw listed sources from, IPv4 and IPv6");
  app.add_option("--spoofed", o.spoofed, "IPv4 prefix to draw unlisted sources from")->capture_default_str();
  app.add_option("--spoofed6", o.spoofed6, "IPv6 prefix to draw unlisted sources from")->capture_default_str();
  app.add_option("--unlisted6", o.unlisted6, "part of the unlisted packets that is IPv6")->check(CLI::Range(0.0, 1.0));
  app.add_option("--share", o.share, "LISTED:UNLISTED[:MALFORMED]")->capture_default_str();
  app.add_option("--dst", o.dst, "IPv4 destination");
  app.add_option("--dst6", o.dst6, "IPv6 destination");
  app.add_option("--dst-mac", o.dst_mac, "destination MAC address")->capture_default_str();
  app.add_option("--src-mac", o.src_mac, "source MAC address")->capture_default_str();
  const auto proto = CLI::IsMember({"udp", "tcp-syn", "tcp-ack", "wireguard-init"});
  app.add_option("--proto", o.proto, "udp, tcp-syn, tcp-ack or wireguard-init (a handshake initiation where the size is 190, in IPv6 210)")->check(proto)->capture_default_str();
  app.add_flag("--syn-options", o.syn_options, "SYNs have the options that a Linux client sends");
  app.add_option("--dport", o.dport, "destination port")->capture_default_str();
  app.add_option("--unlisted-proto", o.unlisted_proto, "the same for unlisted packets, if it differs")->check(proto);
  app.add_option("--unlisted-dport", o.unlisted_dport, "the same for unlisted packets, if it differs");
  app.add_option("--size", o.size, "frame length in bytes, without checksum (at least 60, with IPv6 80)")->check(CLI::Range(60, 1514));
  app.add_flag("--json", o.json, "print one JSON object");
  app.footer("example: flood --dev eth0 --seconds 5 --sources bad.txt --share 80:20 --dst 192.0.2.1 --dst-mac 02:00:00:00:00:01");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if ((count->empty() && seconds->empty()) || (o.dev.empty() && !o.drop && o.program.empty())) {
    fmt::print(stderr, "flood: a bound (--count or --seconds) and a target (--dev, --drop or --program) are needed\n");
    return 2;
  }
  struct sigaction action{};
  action.sa_handler = [](int) { stopped = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  auto result = run(o);
  if (!result) {
    fmt::print(stderr, "flood: {}\n", result.error());
    return 1;
  }
  const auto& r = *result;
  if (o.json)
    fmt::print("{}\n", r.dump());
  else
    fmt::print("{} packets in {:.2f} s: {:.2f} M/s, {:.0f} ns of CPU each (listed {}, unlisted {}, malformed {})\n", r["sent"].get<std::uint64_t>(),
               r["seconds"].get<double>(), r["pps"].get<double>() / 1e6, r["cpu_ns_per_packet"].get<double>(), r["listed"].get<std::uint64_t>(),
               r["unlisted"].get<std::uint64_t>(), r["malformed"].get<std::uint64_t>());
  return 0;
}
