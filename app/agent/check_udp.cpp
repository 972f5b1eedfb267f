#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <string_view>

#include "app/agent/check.h"

namespace penstock {
namespace {

class Udp : public Check {
 public:
  Udp(CheckContext& context, const UdpCheck& check, const Target& target, CheckEnd end) : endpoint_(endpoint_text(target)), expect_(check.expect), end_(std::move(end)) {
    auto fd = connected_socket(target, SOCK_DGRAM);
    std::string error = fd ? "" : fd.error().message();
    if (fd) fd_ = std::move(*fd);
    if (fd_ && send(fd_.get(), check.send.data(), check.send.size(), 0) < 0) error = fail_errno(fmt::format("cannot send to {}", endpoint_), errno).error().message();
    if (!error.empty())
      event_ = context.loop.at(context.loop.now(), [this, error] { finish(error); });
    else
      event_ = context.loop.io(fd_.get(), EPOLLIN, [this](uint32_t) { receive(); });
  }
  std::string late() const override {
    return other_ ? fmt::format("{} answered, but not with what is expected", endpoint_) : fmt::format("no answer from {}", endpoint_);
  }

 private:
  void receive() {
    char answer[65536];
    const ssize_t size = recv(fd_.get(), answer, sizeof answer, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size < 0) return finish(fail_errno(fmt::format("no answer from {}", endpoint_), errno).error().message());
    if (std::string_view(answer, static_cast<size_t>(size)).find(expect_) != std::string_view::npos) return finish("");
    other_ = true;  // perhaps of an earlier check: the right one may follow
  }
  void finish(std::string error) {
    const CheckEnd end = std::move(end_);
    end(std::move(error));
  }

  std::string endpoint_, expect_;
  CheckEnd end_;
  Fd fd_;
  Source event_;
  bool other_ = false;
};

}  // namespace

std::unique_ptr<Check> start_udp(CheckContext& context, const UdpCheck& check, const Target& target, CheckEnd end) { return std::make_unique<Udp>(context, check, target, std::move(end)); }

}  // namespace penstock
