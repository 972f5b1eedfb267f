#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "app/agent/check.h"

namespace penstock {
namespace {

class Tcp : public Check {
 public:
  Tcp(CheckContext& context, const Target& target, CheckEnd end) : endpoint_(endpoint_text(target)), end_(std::move(end)) {
    auto fd = connected_socket(target, SOCK_STREAM);
    if (!fd) {
      event_ = context.loop.at(context.loop.now(), [this, error = fd.error().message()] { finish(error); });
      return;
    }
    fd_ = std::move(*fd);
    event_ = context.loop.io(fd_.get(), EPOLLOUT, [this](uint32_t) {
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      finish(error ? fail_errno(fmt::format("cannot connect to {}", endpoint_), error).error().message() : "");
    });
  }
  ~Tcp() override {
    // A reset leaves no TIME_WAIT behind, of which there would be thousands.
    const linger reset{1, 0};
    if (fd_) setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  std::string late() const override { return fmt::format("no answer from {} to a connection attempt", endpoint_); }

 private:
  void finish(std::string error) {
    const CheckEnd end = std::move(end_);
    end(std::move(error));
  }

  std::string endpoint_;
  CheckEnd end_;
  Fd fd_;
  Source event_;
};

}  // namespace

std::unique_ptr<Check> start_tcp(CheckContext& context, const Target& target, CheckEnd end) { return std::make_unique<Tcp>(context, target, std::move(end)); }

}  // namespace penstock
