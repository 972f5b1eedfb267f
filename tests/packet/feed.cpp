#include "tests/packet/feed.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace penstock::packet_test {

Result<Feed> Feed::open(const Datapath& datapath, bool frags) {
  Feed out(bpf_object__open_file(PENSTOCK_FEED_OBJECT, nullptr));
  if (!out.object_) return fail_errno("cannot open " PENSTOCK_FEED_OBJECT, errno);
  bpf_program* program = bpf_object__find_program_by_name(out.object_, "feed");
  if (frags) bpf_program__set_flags(program, bpf_program__flags(program) | BPF_F_XDP_HAS_FRAGS);
  if (bpf_map__reuse_fd(bpf_object__find_map_by_name(out.object_, "trace"), datapath.map("trace"))) return fail_errno("cannot share the trace", errno);
  if (const int error = bpf_object__load(out.object_)) return fail_errno("cannot load the feed", -error);
  const auto map = [&](const char* name) { return bpf_object__find_map_fd_by_name(out.object_, name); };
  TRY_ASSIGN(out.frames_, map_memory(map("frames")));
  TRY_ASSIGN(out.exits_, map_memory(map("exits")));
  TRY_ASSIGN(out.next_, map_memory(map("next")));
  const __u32 zero = 0;
  const int target = datapath.program();
  if (bpf_map_update_elem(map("target"), &zero, &target, BPF_ANY)) return fail_errno("cannot feed the program", errno);
  return out;
}

Feed::~Feed() { bpf_object__close(object_); }

Result<std::span<const feed_exit>> Feed::run(std::span<const feed_frame> frames) {
  if (frames.size() > FEED_FRAMES) return fail("too many frames at once");
  std::memcpy(frames_.as<feed_frame>(), frames.data(), frames.size_bytes());
  std::fill_n(exits_.as<feed_exit>(), frames.size(), feed_exit{});
  *next_.as<__u64>() = 0;
  feed_frame data{}, back{};
  // One turn more than frames: it notes the last exit.
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = &data, .data_out = &back, .data_size_in = sizeof data, .data_size_out = sizeof back,
              .repeat = static_cast<int>(frames.size() + 1));
  const int feed = bpf_program__fd(bpf_object__find_program_by_name(object_, "feed"));
  if (bpf_prog_test_run_opts(feed, &options)) return fail_errno("BPF_PROG_RUN", errno);
  if (*next_.as<__u64>() != frames.size() + 1) return fail("not all frames were sent");
  return std::span<const feed_exit>(exits_.as<const feed_exit>(), frames.size());
}

}  // namespace penstock::packet_test
