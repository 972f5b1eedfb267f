// Many frames through a loaded program in one system call, and which exit each of them took.
#pragma once
#include <linux/types.h>

#define FEED_FRAMES 65536

// All frames have one length; what lies behind the datagram is padding.
struct feed_frame {
  __u64 word[10];
};
struct feed_exit {
  __u32 count;  // exits that the packet took
  __u32 slot;   // the last of them
};

#ifdef __cplusplus
#include <span>
#include <vector>

#include "tests/packet/datapath.h"

struct bpf_object;

namespace penstock::packet_test {

class Feed {
 public:
  // The datapath is loaded with `trace` on and outlives this.
  static Result<Feed> open(const Datapath& datapath, bool frags);
  Feed(Feed&& other) noexcept : object_(std::exchange(other.object_, nullptr)), frames_(std::move(other.frames_)), exits_(std::move(other.exits_)), next_(std::move(other.next_)) {}
  Feed& operator=(Feed&&) = delete;
  ~Feed();

  // At most FEED_FRAMES frames.  The exit of each; valid until the next call.
  Result<std::span<const feed_exit>> run(std::span<const feed_frame> frames);

 private:
  explicit Feed(bpf_object* object) : object_(object) {}
  bpf_object* object_;
  Mapping frames_, exits_, next_;
};

}  // namespace penstock::packet_test
#endif
