#include "app/health_report.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/config/reader.h"

namespace penstock {
namespace {

constexpr size_t longest_report = 64u << 20;

std::string quoted(const std::string& text) { return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace); }

}  // namespace

const BackendReport* HealthReport::find(const std::string& service, const std::string& backend) const {
  const auto found = std::ranges::find_if(backends, [&](const BackendReport& b) { return b.service == service && b.backend == backend; });
  return found == backends.end() ? nullptr : &*found;
}

int64_t wall_ms() { return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::string report_path(const Instance& instance) { return instance.run + "/health.json"; }

// By hand: ten thousand backends every other second are nothing to build a tree of.
std::string report_text(const HealthReport& report) {
  std::string out;
  const auto end = std::back_inserter(out);
  fmt::format_to(end, R"({{"schema":"penstock/health/1","written":{},"pid":{},"generation":{},"backends":[)", report.written, report.pid, report.generation);
  bool first = true;
  for (const BackendReport& b : report.backends) {
    fmt::format_to(end, R"({}{{"service":{},"backend":{},"id":{},"state":{},"kept":{},"weight":{},"since":{},"falls":{},"in_a_row":{},"needed":{},"check":{},"endpoint":{},"checked":{},"took_ms":{:.3f},"error":{}}})", first ? "\n" : ",\n",
                   quoted(b.service), quoted(b.backend), b.id, quoted(b.state), b.kept, b.weight, b.since, b.falls, b.in_a_row, b.needed, quoted(b.check), quoted(b.endpoint), b.checked, b.took_ms, quoted(b.error));
    first = false;
  }
  return out + "\n]}\n";
}

Result<> write_report(const Instance& instance, const HealthReport& report) {
  const std::string path = report_path(instance), aside = path + ".new", text = report_text(report);
  {
    const Fd file(open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!file) return fail_errno(fmt::format("cannot write {}", aside), errno);
    for (size_t done = 0; done < text.size();) {
      const ssize_t size = write(file.get(), text.data() + done, text.size() - done);
      if (size < 0 && errno != EINTR) return fail_errno(fmt::format("cannot write {}", aside), errno);
      if (size > 0) done += static_cast<size_t>(size);
    }
  }
  if (std::rename(aside.c_str(), path.c_str()) < 0) return fail_errno(fmt::format("cannot write {}", path), errno);
  return {};
}

Result<std::optional<HealthReport>> read_report(const Instance& instance) {
  const std::string path = report_path(instance);
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::optional<HealthReport>();
  TRY_ASSIGN(const std::string text, read_text(path, {.bytes = longest_report}));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  const auto broken = [&] { return fail(fmt::format("{} is no report of an agent", path), "delete it; a running agent writes it anew"); };
  if (json.is_discarded() || !json.is_object() || json.value("schema", "") != "penstock/health/1" || !json.contains("backends")) return broken();
  HealthReport out;
  try {
    out.written = json.at("written");
    out.pid = json.at("pid");
    out.generation = json.at("generation");
    for (const auto& b : json.at("backends"))
      out.backends.push_back({b.at("service"), b.at("backend"), b.at("id"), b.at("state"), b.at("kept"), b.at("weight"), b.at("since"), b.at("falls"), b.at("in_a_row"), b.at("needed"), b.at("check"),
                              b.at("endpoint"), b.at("checked"), b.at("took_ms"), b.at("error")});
  } catch (const nlohmann::json::exception&) {
    return broken();
  }
  return std::optional(std::move(out));
}

}  // namespace penstock
