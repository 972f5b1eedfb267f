// Feeds a program under test: one call of BPF_PROG_RUN with `repeat` sends one frame after the other and notes what the
// program's trace said of each.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/trace.h"
#include "tests/packet/feed.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, FEED_FRAMES);
  __type(key, __u32);
  __type(value, struct feed_frame);
} frames SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, FEED_FRAMES);
  __type(key, __u32);
  __type(value, struct feed_exit);
} exits SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} next SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} target SEC(".maps");

// The target's own.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_trace);
} trace SEC(".maps");

SEC("xdp")
int feed(struct xdp_md *ctx)
{
  __u32 zero = 0;
  __u64 *state = bpf_map_lookup_elem(&next, &zero);
  struct ps_trace *said = bpf_map_lookup_elem(&trace, &zero);
  if (!state || !said)
    return XDP_ABORTED;
  __u32 at = *state, before = at - 1;
  *state = at + 1;
  struct feed_exit *exit = bpf_map_lookup_elem(&exits, &before);
  if (exit) {
    exit->count = said->slots;
    exit->slot = said->decided;
  }
  const struct feed_frame *frame = bpf_map_lookup_elem(&frames, &at);
  struct feed_frame *data = (void *)(long)ctx->data;
  if (frame && (void *)(data + 1) <= (void *)(long)ctx->data_end) {
    *data = *frame;
    bpf_tail_call(ctx, &target, 0);
  }
  return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
