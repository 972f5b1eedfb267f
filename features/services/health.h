// `health` of a service: how its backends are checked, and which of them new connections may go to by what was found.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "core/base/result.h"
#include "core/net/number_range.h"

namespace penstock {

// The kinds of checks; one each stands in Health::check.
struct TcpCheck {                       // a connection comes about
  bool operator==(const TcpCheck&) const = default;
};
struct HttpCheck {                      // GET, the answer has one of these codes and holds this text
  std::string host{};                   // of the request and of the certificate; empty: the backend's address
  std::string path = "/";
  std::vector<NumberRange> status{{200, 399}};
  std::string body{};                   // empty: any
  bool tls = false;
  bool verify = true;                   // the certificate (tls)
  std::string authorities{};            // file of certificates to trust; empty: the system's
  bool operator==(const HttpCheck&) const = default;
};
struct UdpCheck {                       // a datagram is answered by one that holds these bytes
  std::string send;
  std::string expect;                   // empty: any answer will do
  bool operator==(const UdpCheck&) const = default;
};
struct ExecCheck {                      // a command ends with 0
  std::vector<std::string> command;     // absolute path and arguments; no shell
  bool operator==(const ExecCheck&) const = default;
};

struct Health {
  Location at;                          // of the value
  std::variant<TcpCheck, HttpCheck, UdpCheck, ExecCheck> check;
  std::optional<uint16_t> port;         // that is checked; nothing: the one that traffic goes to
  std::chrono::milliseconds interval{2000}, timeout{1000};
  uint32_t rise = 2, fall = 3;          // checks in a row
  std::chrono::milliseconds slow_start{0};  // 0: all at once
  std::chrono::milliseconds damping{0};     // 0: off
  bool needs_port() const { return !std::holds_alternative<ExecCheck>(check); }
  bool operator==(const Health& other) const {
    return check == other.check && port == other.port && interval == other.interval && timeout == other.timeout && rise == other.rise && fall == other.fall &&
           slow_start == other.slow_start && damping == other.damping;
  }
};

// The longest timeout with which a backend that falls silent still has failed within interval * fall; see check_period().
std::chrono::milliseconds longest_timeout(std::chrono::milliseconds interval, uint32_t fall);

std::string check_text(const Health& health);   // "http GET /ready", for people
std::string health_text(const Health& health);  // tells any two apart

// A backend as `min-backends` sees it.
struct Standing {
  bool enabled = true;                  // neither the file nor an operator took it out
  bool failed = false;                  // by its checks
  int64_t since = 0;                    // of its last change, in any unit
};
// Which of the failed backends stay in use all the same.  Where fewer than `least` enabled backends have not failed, those
// that failed last fill up the number (of equal ones the first): they are likelier to be alive than those that failed long
// ago, and too few would be overrun.
std::vector<bool> kept_in_use(std::span<const Standing> backends, uint32_t least);

}  // namespace penstock
