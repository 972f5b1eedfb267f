#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "app/agent/check.h"
#include "core/base/utf8.h"

extern char** environ;

namespace penstock {
namespace {

constexpr size_t longest_line = 200;  // of what a command says

class Exec : public Check {
 public:
  Exec(CheckContext& context, const ExecCheck& check, const Target& target, CheckEnd end) : loop_(context.loop), name_(check.command.front()), end_(std::move(end)) {
    if (const int error = start(check, target)) {
      child_ = loop_.at(loop_.now(), [this, error] { finish(fail_errno(fmt::format("cannot run {}", name_), error).error().message()); });
      return;
    }
    running_ = true;
    output_ = loop_.io(pipe_.get(), EPOLLIN, [this](uint32_t) { listen(); });
    child_ = loop_.child(pid_, [this](int status) { ended(status); });
  }
  ~Exec() override {
    if (!running_) return;
    kill(-pid_, SIGKILL);
    loop_.abandon(std::move(child_));
  }
  std::string late() const override { return fmt::format("{} did not end in time{}", name_, said_text()); }

 private:
  // In a process group of its own, so that what it starts is killed with it.  0 or an errno.
  int start(const ExecCheck& check, const Target& target) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return errno;
    pipe_ = Fd(ends[0]);
    const Fd out(ends[1]);
    fcntl(pipe_.get(), F_SETFL, O_NONBLOCK);

    std::vector<std::string> variables;
    for (char** v = environ; *v; ++v)
      if (std::strncmp(*v, "NOTIFY_SOCKET=", 14) != 0 && std::strncmp(*v, "WATCHDOG_", 9) != 0) variables.emplace_back(*v);
    variables.push_back("PENSTOCK_SERVICE=" + target.service);
    variables.push_back("PENSTOCK_BACKEND=" + target.backend);
    variables.push_back("PENSTOCK_ADDRESS=" + target.address.text());
    if (target.port) variables.push_back(fmt::format("PENSTOCK_PORT={}", target.port));
    std::vector<char*> arguments, environment;
    std::vector<std::string> command = check.command;
    for (std::string& word : command) arguments.push_back(word.data());
    for (std::string& variable : variables) environment.push_back(variable.data());
    arguments.push_back(nullptr);
    environment.push_back(nullptr);

    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out.get(), 1);
    posix_spawn_file_actions_adddup2(&files, out.get(), 2);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    const int error = posix_spawn(&pid_, check.command.front().c_str(), &files, &attributes, arguments.data(), environment.data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return error;
  }

  void listen() {
    char text[4096];
    ssize_t size;
    while ((size = read(pipe_.get(), text, sizeof text)) > 0) {
      said_.append(text, static_cast<size_t>(size));
      if (said_.size() > sizeof text) said_.erase(0, said_.size() - sizeof text);
    }
    if (size == 0) output_.reset();  // all ends are closed
  }

  std::string said_text() const {
    std::string line = said_;
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
    if (const size_t newline = line.rfind('\n'); newline != line.npos) line.erase(0, newline + 1);
    if (line.size() > longest_line) line.resize(longest_line);
    return line.empty() ? "" : ": " + printable(line);
  }

  void ended(int status) {
    running_ = false;
    listen();
    if (status == 0) return finish("");
    finish((status > 0 ? fmt::format("{} ended with {}", name_, status) : fmt::format("{} was ended by signal {}", name_, -status)) + said_text());
  }
  void finish(std::string error) {
    const CheckEnd end = std::move(end_);
    end(std::move(error));
  }

  Loop& loop_;
  std::string name_, said_;
  CheckEnd end_;
  pid_t pid_ = 0;
  bool running_ = false;
  Fd pipe_;
  Source output_, child_;
};

}  // namespace

std::unique_ptr<Check> start_exec(CheckContext& context, const ExecCheck& check, const Target& target, CheckEnd end) { return std::make_unique<Exec>(context, check, target, std::move(end)); }

}  // namespace penstock
