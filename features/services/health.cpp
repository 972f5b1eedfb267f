#include "features/services/health.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/config/duration.h"
#include "core/config/types.h"
#include "features/services/health_keys.h"

namespace penstock {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds shortest_interval{100}, longest_interval{std::chrono::hours(1)}, shortest_timeout{10}, default_timeout{1000};
constexpr milliseconds longest_slow_start{std::chrono::hours(1)}, longest_damping{std::chrono::hours(24)};
constexpr uint32_t most_in_a_row = 100;
constexpr size_t most_sent = 1200;      // bytes: one datagram on any path
constexpr uint32_t most_backends = 65'535;

// As it is written, with places to point at.
struct Written {
  Location at, interval_at, timeout_at, port_at, slow_start_at, damping_at;
  std::optional<TcpCheck> tcp;
  std::optional<HttpCheck> http, https;
  std::optional<UdpCheck> udp;
  std::optional<ExecCheck> exec;
  std::optional<uint32_t> port;
  milliseconds interval{0}, slow_start{0}, damping{0};
  std::optional<milliseconds> timeout;
  uint32_t rise = 2, fall = 3;
};

bool is_printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

Type<std::string> path_type() {
  return {{"path", {{"type", "string"}, {"pattern", "^/[!-~]*$"}}}, [](Decoder& d, const Node& node, std::string& out) {
            if (!expect_scalar(d, node, "a path")) return false;
            if (!node.text.starts_with('/') || !is_printable(node.text)) return d.error(node, fmt::format("`{}` is no path of a URL", node.text), "it begins with `/`; blanks and other characters are written as %20");
            out = node.text;
            return true;
          }};
}

Type<std::string> host_type() {
  return {{"host name", {{"type", "string"}, {"pattern", "^[A-Za-z0-9._-]+$"}}}, [](Decoder& d, const Node& node, std::string& out) {
            if (!expect_scalar(d, node, "a host name")) return false;
            const bool good = !node.text.empty() && node.text.size() <= 253 &&
                              std::ranges::all_of(node.text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_'; });
            if (!good) return d.error(node, fmt::format("`{}` is no host name", node.text), "write the name that clients ask for, as www.example.org, without a port");
            out = node.text;
            return true;
          }};
}

Type<NumberRange> status_type() {
  return {{"status code or range of them", {{"anyOf", {{{"type", "integer"}, {"minimum", 100}, {"maximum", 599}}, {{"type", "string"}, {"pattern", "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$"}}}}}},
          [](Decoder& d, const Node& node, NumberRange& out) {
            if (!expect_scalar(d, node, "a status code")) return false;
            const auto code = [](std::string_view text) -> uint16_t {
              if (text.size() != 3 || text[0] < '1' || text[0] > '5' || text.find_first_not_of("0123456789") != text.npos) return 0;
              return static_cast<uint16_t>((text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0'));
            };
            const size_t dash = node.text.find('-');
            out.first = code(std::string_view(node.text).substr(0, dash));
            out.last = dash == std::string::npos ? out.first : code(std::string_view(node.text).substr(dash + 1));
            if (!out.first || !out.last || out.first > out.last) return d.error(node, fmt::format("`{}` is no status code", node.text), "write 200, or a range as 200-299");
            return true;
          }};
}

// "PING", or "hex:0d0a" for bytes that are no text.
Type<std::string> payload_type() {
  return {{"text, or bytes as hex:0d0a", {{"type", "string"}, {"minLength", 1}}}, [](Decoder& d, const Node& node, std::string& out) {
            if (!expect_scalar(d, node, "text")) return false;
            out = node.text;
            if (node.text.starts_with("hex:")) {
              const std::string_view digits = std::string_view(node.text).substr(4);
              const auto value = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; };
              if (digits.size() % 2 || !std::ranges::all_of(digits, [&](char c) { return value(c) >= 0; })) return d.error(node, "bytes are pairs of hexadecimal digits", "write them as hex:00ff0d0a");
              out.clear();
              for (size_t i = 0; i < digits.size(); i += 2) out += static_cast<char>(value(digits[i]) * 16 + value(digits[i + 1]));
            }
            if (out.empty()) return d.error(node, "these are no bytes at all");
            if (out.size() > most_sent) return d.error(node, fmt::format("{} bytes are too many", out.size()), fmt::format("at most {}: what one datagram carries on any path", most_sent));
            return true;
          }};
}

Keys<TcpCheck> tcp_keys() { return Keys<TcpCheck>("tcp check", "Passes when a TCP connection comes about; it is reset at once. There is nothing to say: `tcp: {}`."); }

Keys<HttpCheck> http_keys(bool tls) {
  auto keys = Keys<HttpCheck>(tls ? "https check" : "http check", tls ? "As http, over TLS." : "Passes when GET is answered with one of the codes and the text. Redirections are not followed.");
  keys.optional("host", host_type(), &HttpCheck::host, {tls ? "The name that is asked for, and that the certificate must bear." : "The name that is asked for (default: the backend's address).", "www.example.org"})
      .optional("path", path_type(), &HttpCheck::path, "/", {"What is asked for.", "/ready"})
      .optional("status", one_or_list_of(status_type()), &HttpCheck::status, "200-399", {"The codes that are good.", "[200, 301-302]"})
      .optional("body", string_type("text"), &HttpCheck::body, {"Text that the first 64 KiB of the answer's body must hold.", "ready"});
  if (tls)
    keys.optional("verify", yes_no_type(), &HttpCheck::verify, "yes", {"Is the certificate checked? It must be valid, of a trusted authority, and bear the name in `host`.", "no"})
        .optional("authorities", string_type("file"), &HttpCheck::authorities, {"A file with the certificates (PEM) of the authorities that are trusted in the place of the system's.", "/etc/penstock/authorities.pem"});
  keys.check([tls](Decoder& d, const Node& node, HttpCheck& check) {
    check.tls = tls;
    if (tls && check.verify && check.host.empty()) return d.error(node, "the certificate can be checked only for a name", "say which with `host: www.example.org`, or `verify: no`");
    if (tls && !check.verify && !check.authorities.empty()) return d.error(node, "`authorities` without `verify` trusts nobody and everybody", "remove one of the two");
    if (!check.authorities.empty() && !check.authorities.starts_with('/')) return d.error(node, "`authorities` needs an absolute path");
    return true;
  });
  return keys;
}

Keys<UdpCheck> udp_keys() {
  return Keys<UdpCheck>("udp check", "Passes when a datagram is answered.")
      .required("send", payload_type(), &UdpCheck::send, {"What is sent: text, or bytes as hex:0d0a; at most 1200 bytes.", "ping"})
      .optional("expect", payload_type(), &UdpCheck::expect, {"Bytes that the answer must hold (default: any answer will do).", "pong"});
}

Keys<ExecCheck> exec_keys() {
  return Keys<ExecCheck>("exec check",
                         "Passes when a command ends with 0. It runs as the agent does, without a shell, and is killed with all that it started at the timeout. It finds "
                         "PENSTOCK_SERVICE, PENSTOCK_BACKEND, PENSTOCK_ADDRESS and, where the service has one port, PENSTOCK_PORT in its environment; the last line that it writes is shown as its error.")
      .required("command", list_of(string_type("word")), &ExecCheck::command, {"An absolute path and its arguments.", "[/usr/local/bin/check-db, --quick]"})
      .check([](Decoder& d, const Node& node, ExecCheck& check) {
        if (check.command.empty() || !check.command.front().starts_with('/')) return d.error(node, "`command` begins with an absolute path", "write it as [/usr/local/bin/check-db, --quick]");
        return true;
      });
}

bool within(Decoder& d, const Location& at, milliseconds value, milliseconds least, milliseconds most) {
  if (value >= least && value <= most) return true;
  return d.error(at, fmt::format("`{}` is not between {} and {}", duration_text(value), duration_text(least), duration_text(most)));
}

bool check_health(Decoder& d, const Node& node, Written& w) {
  const int kinds = w.tcp.has_value() + w.http.has_value() + w.https.has_value() + w.udp.has_value() + w.exec.has_value();
  if (kinds == 0) return d.error(node, "what is checked is missing", "say one of tcp, http, https, udp and exec: `tcp: {}`");
  if (kinds > 1) return d.error(node, "one check, please", "keep one of tcp, http, https, udp and exec");
  bool good = within(d, w.interval_at, w.interval, shortest_interval, longest_interval);
  if (w.exec && w.port) good = d.error(w.port_at, "a command finds its port by itself", "remove `port`; the service's own is in PENSTOCK_PORT");
  if (w.slow_start.count() && w.slow_start < std::chrono::seconds(1)) good = d.error(w.slow_start_at, "a slow start takes at least 1s", "leave it out to start at once");
  good = within(d, w.slow_start_at, w.slow_start, milliseconds(0), longest_slow_start) && good;
  good = within(d, w.damping_at, w.damping, milliseconds(0), longest_damping) && good;
  if (!good) return false;
  const milliseconds longest = longest_timeout(w.interval, w.fall);
  if (!w.timeout) w.timeout = std::min(default_timeout, w.interval / 2);
  if (*w.timeout < shortest_timeout) return d.error(w.timeout_at, fmt::format("`{}` is too short", duration_text(*w.timeout)), fmt::format("at least {}", duration_text(shortest_timeout)));
  if (*w.timeout <= longest) return true;
  return d.error(w.timeout_at, fmt::format("with this timeout a backend that falls silent would not have failed within {}, interval × fall", duration_text(w.interval * w.fall)),
                 fmt::format("at most {} fits `interval: {}` and `fall: {}`", duration_text(longest), duration_text(w.interval), w.fall));
}

Keys<Written> health_keys() {
  return Keys<Written>("health", "How the service's backends are checked by `penstock agent`: exactly one of tcp, http, https, udp and exec. Without an agent the last state stays.")
      .optional("tcp", object_of(tcp_keys()), &Written::tcp, {"A TCP connection comes about.", "{}"})
      .optional("http", object_of(http_keys(false)), &Written::http, {"A web server answers.", "{ path: /ready, status: 200, body: ok }"})
      .optional("https", object_of(http_keys(true)), &Written::https, {"A web server answers over TLS.", "{ host: www.example.org, path: /ready }"})
      .optional("udp", object_of(udp_keys()), &Written::udp, {"A datagram is answered.", "{ send: ping, expect: pong }"})
      .optional("exec", object_of(exec_keys()), &Written::exec, {"A command ends with 0.", "{ command: [/usr/local/bin/check-db] }"})
      .optional("port", number_type(1, 65535), &Written::port, {"The port that is checked (default: the one that traffic goes to).", "8080"})
      .located(&Written::port_at)
      .optional("interval", duration_type(), &Written::interval, "2s",
                {"From the begin of one check to that of the next. While checks of a backend in use fail they come more often, so that a backend which falls silent has failed within interval × fall.", "2s"})
      .located(&Written::interval_at)
      .optional("timeout", duration_type(), &Written::timeout,
                {"How long a check may take (default: half the interval, at most 1s). At most interval × (fall − 1) / fall, with `fall: 1` half the interval.", "1s"})
      .located(&Written::timeout_at)
      .optional("rise", number_type(1, most_in_a_row), &Written::rise, "2", {"How many checks in a row must pass before a failed backend is used again.", "2"})
      .optional("fall", number_type(1, most_in_a_row), &Written::fall, "3", {"How many checks in a row must fail before a backend has failed.", "3"})
      .optional("slow-start", duration_type(), &Written::slow_start, "0s",
                {"Over how long the weight of a backend that comes back grows from a tenth to all of it, in at most ten equal steps of at least a second.", "30s"})
      .located(&Written::slow_start_at)
      .optional("damping", duration_type(), &Written::damping, "5m",
                {"A backend that fails again before it has been up for so long needs twice as many good checks in a row as it did the time before, at most as many as fit into this time. 0s turns it off.", "5m"})
      .located(&Written::damping_at)
      .check(check_health);
}

}  // namespace

milliseconds longest_timeout(milliseconds interval, uint32_t fall) { return fall < 2 ? interval / 2 : interval * (fall - 1) / fall; }

Type<Health> health_type() {
  const Type<Written> written = object_of(health_keys());
  return {written.shape, [decode = written.decode](Decoder& d, const Node& node, Health& out) {
            Written w;
            if (!decode(d, node, w)) return false;
            out.at = w.at;
            if (w.tcp) out.check = *w.tcp;
            if (w.http) out.check = *w.http;
            if (w.https) out.check = *w.https;
            if (w.udp) out.check = *w.udp;
            if (w.exec) out.check = *w.exec;
            if (w.port) out.port = static_cast<uint16_t>(*w.port);
            out.interval = w.interval;
            out.timeout = *w.timeout;
            out.rise = w.rise;
            out.fall = w.fall;
            out.slow_start = w.slow_start;
            out.damping = w.damping;
            return true;
          }};
}

Doc health_doc() { return {"How backends are checked; a failed one gets no connections until it has recovered.", "{ tcp: {}, interval: 2s, fall: 3 }"}; }

Type<uint32_t> min_backends_type() { return number_type(0, most_backends); }

Doc min_backends_doc() {
  return {"Checks never leave fewer than so many backends in use, of those that neither the file nor an operator took out: where more have failed, those that failed last stay in use (default: 1). 0: checks may "
          "take out all of them.",
          "2"};
}

std::string check_text(const Health& health) {
  struct {
    std::string operator()(const TcpCheck&) const { return "tcp"; }
    std::string operator()(const HttpCheck& c) const { return fmt::format("{} GET {}", c.tls ? "https" : "http", c.path); }
    std::string operator()(const UdpCheck&) const { return "udp"; }
    std::string operator()(const ExecCheck& c) const { return fmt::format("exec {}", fmt::join(c.command, " ")); }
  } text;
  return std::visit(text, health.check);
}

std::string health_text(const Health& h) {
  std::string out = check_text(h);
  if (const auto* http = std::get_if<HttpCheck>(&h.check)) {
    out += fmt::format(" host {} status", http->host);
    for (const NumberRange& r : http->status) out += fmt::format(" {}-{}", r.first, r.last);
    out += fmt::format(" body {} {} verify {} authorities {}", http->body.size(), http->body, http->verify, http->authorities);
  }
  if (const auto* udp = std::get_if<UdpCheck>(&h.check)) {
    for (const std::string& bytes : {udp->send, udp->expect}) {
      out += ' ';
      for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (const auto* exec = std::get_if<ExecCheck>(&h.check))
    for (const std::string& word : exec->command) out += fmt::format(" {}", word.size());
  if (h.port) out += fmt::format(" port {}", *h.port);
  return out + fmt::format(" interval {} timeout {} rise {} fall {} slow-start {} damping {}", duration_text(h.interval), duration_text(h.timeout), h.rise, h.fall, duration_text(h.slow_start), duration_text(h.damping));
}

std::vector<bool> kept_in_use(std::span<const Standing> backends, uint32_t least) {
  std::vector<bool> kept(backends.size(), false);
  std::vector<size_t> failed;
  size_t in_use = 0;
  for (size_t i = 0; i < backends.size(); ++i) {
    if (!backends[i].enabled) continue;
    if (backends[i].failed)
      failed.push_back(i);
    else
      ++in_use;
  }
  std::ranges::stable_sort(failed, std::greater{}, [&](size_t i) { return backends[i].since; });
  for (const size_t i : failed) {
    if (in_use >= least) break;
    kept[i] = true;
    ++in_use;
  }
  return kept;
}

}  // namespace penstock
