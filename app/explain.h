// Why a packet fares as it does: the programs themselves run on it and tell.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/replay.h"
#include "core/plan/explanation.h"
#include "core/plan/running_image.h"

namespace penstock {

struct Explanation {
  Judged judged;
  std::vector<Step> steps;            // in the order in which they happened
  std::vector<const Slot*> also;      // rules that match too, behind those that decided; in order, also in later policies
  bool more = false;                  // there are more of them than most_also
};
inline constexpr size_t most_also = 1000;

class Explainer {
 public:
  // All must outlive this.  `replay` must be opened on `image` with events.
  Explainer(const Config& config, const Image& image, Replay& replay) : config_(config), image_(image), replay_(replay) {}

  // As Replay::run.
  Result<Explanation> explain(size_t hook, std::span<const uint8_t> packet, bool raw, uint64_t now);

 private:
  Result<> find_also(size_t hook, std::span<const uint8_t> packet, bool raw, uint64_t now, size_t policies, Explanation& out);
  const std::vector<Prefix>* list(uint32_t index);

  const Config& config_;
  const Image& image_;
  Replay& replay_;
  std::optional<std::map<uint32_t, std::vector<Prefix>>> lists_;  // of nameless sets, found when first asked for
};

// What judges packets now, or would if `file` were applied: with everything that an Explainer refers to.
struct ExplainSource {
  Config config;
  std::unique_ptr<RunningImage> running;   // null: of a file, with empty state
  std::unique_ptr<Image> image;            // of a file
  std::unique_ptr<Replay> replay;
  const Image& programs() const { return running ? running->image : *image; }

  // Over the live tables and state of the instance, changing nothing.
  static Result<ExplainSource> of_running(const Instance& instance);
  static Result<ExplainSource> of_file(const std::string& file);
};

// The line of the file that a place points at, without what surrounds it; empty where it is not of the file.
std::string source_line(const Config& config, const Location& at);

// The explanation for people: steps, verdict, the rules that match too.
std::vector<std::string> explanation_lines(const Explanation& explanation, const Config& config);

// "drop, reason rule, by rule edge/bad (node.yaml:14:9)"
std::string verdict_text(const Judged& judged);

}  // namespace penstock
