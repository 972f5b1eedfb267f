// One check under way: it begins when it is made and ends by saying so, or by being destroyed at its timeout.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "app/agent/loop.h"
#include "core/base/fd.h"
#include "core/net/address.h"
#include "features/services/health.h"

namespace penstock {

class HttpClient;

// Who is checked.
struct Target {
  std::string service{}, backend{};
  Address address{};
  uint16_t port = 0;        // 0: a command finds it by itself
  uint32_t mark = 0;        // SO_MARK of its sockets; 0: none
};

struct CheckContext {
  Loop& loop;
  HttpClient& http;
};

class Check {
 public:
  virtual ~Check() = default;             // whatever is under way is dropped, a command is killed
  virtual std::string late() const = 0;   // what it was waiting for, as an error at its timeout
};

// `error` is empty when the check passed.  It is called once at most, never before start_check() has returned, and as the
// last thing that the check does: it may destroy the check.
using CheckEnd = std::function<void(std::string error)>;

std::unique_ptr<Check> start_check(CheckContext& context, const Health& health, const Target& target, CheckEnd end);

// Each kind, in a file of its own.
std::unique_ptr<Check> start_tcp(CheckContext& context, const Target& target, CheckEnd end);
std::unique_ptr<Check> start_udp(CheckContext& context, const UdpCheck& check, const Target& target, CheckEnd end);
std::unique_ptr<Check> start_http(CheckContext& context, const HttpCheck& check, const Target& target, CheckEnd end);
std::unique_ptr<Check> start_exec(CheckContext& context, const ExecCheck& check, const Target& target, CheckEnd end);

// "10.0.1.11:443", "[2001:db8::1]:443".
std::string endpoint_text(const Target& target);
// A non-blocking socket of this type, marked, and connected or connecting.  Errors in words.
Result<Fd> connected_socket(const Target& target, int type);

}  // namespace penstock
