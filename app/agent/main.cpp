// penstock-agent INSTANCE: what `penstock agent` becomes.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "app/agent/agent.h"
#include "app/agent/live_node.h"
#include "core/base/diagnostic.h"
#include "core/kernel/bpf.h"

namespace penstock {
namespace {

constexpr int64_t report_every = 2000;  // ms, though nothing changed but when checks took place

void log(LogLevel level, const std::string& line) {
  static const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
  std::fprintf(stderr, "%s%s\n", journal ? fmt::format("<{}>", static_cast<int>(level)).c_str() : "", line.c_str());
}

// One agent an instance.
Result<Fd> only_one(const Instance& instance) {
  TRY(make_directories(instance.run, 0755));
  const std::string path = instance.run + "/agent.lock";
  Fd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!file) return fail_errno(fmt::format("cannot open {}", path), errno);
  if (flock(file.get(), LOCK_EX | LOCK_NB) < 0) return fail(Diagnostic{.message = fmt::format("another agent runs for instance {}", instance.name), .hint = "one is enough; see `systemctl status penstock-agent`"}, Exit::usage);
  return file;
}

// A socket for each check under way.
void raise_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

Result<> run(const std::string& name) {
  TRY_ASSIGN(const Instance instance, Instance::named(name));
  TRY(ensure_bpffs());
  TRY_ASSIGN(const Fd lock, only_one(instance));
  raise_descriptors();
  TRY_ASSIGN(Loop loop, Loop::make());
  TRY_ASSIGN(const auto http, HttpClient::make(loop));
  LiveNode node(instance);
  auto past = read_report(instance);
  if (!past) log(LogLevel::warning, past.error().message());
  Agent agent(loop, *http, node, log, past ? std::move(*past) : std::nullopt);
  int64_t written = 0;
  std::string said, trouble;
  Source tick;
  tick = loop.at(loop.now(), [&] {
    agent.look();
    const bool news = agent.take_news();
    if (const int64_t now = wall_ms(); news || now - written >= report_every || now < written) {
      const auto done = write_report(instance, agent.report());
      if (!done && done.error().message() != trouble) log(LogLevel::warning, done.error().message());
      trouble = done ? "" : done.error().message();
      written = now;
    }
    if (const std::string summary = agent.summary(); summary != said) loop.tell(said = summary);
    loop.again(tick, loop.now() + Agent::tick);
  });
  return loop.run();
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  using namespace penstock;
  if (argc != 2) {
    std::fprintf(stderr, "usage: penstock agent [--instance NAME]\n");
    return static_cast<int>(Exit::usage);
  }
  const auto done = run(argv[1]);
  if (done) return 0;
  std::fprintf(stderr, "%s", render(done.error(), false).c_str());
  return static_cast<int>(done.error().exit);
}
