// The program under measurement, with packets that differ: each run first writes the next frame of a list over the
// packet, then judges it.  `bench_frame` alone says what the writing costs, `bench_empty` what a run costs.
#include "features/sets/contains.bpf.h"
#include "features/policy/stage.bpf.h"
#include "bench/classifier.h"

const volatile struct ps_policy_const policy_const = {.count = 1, .classifiers = 1};
const volatile struct ps_core_const core_const = {.counter_stride = BENCH_SLOTS, .counter_lanes = 4};
const volatile struct ps_hook_const hook_const = {.malformed = PS_DROP};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct bench_frame);
} frames SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} turn SEC(".maps");

static __always_inline int write_frame(struct xdp_md *ctx)
{
  __u32 zero = 0;
  __u32 *next = bpf_map_lookup_elem(&turn, &zero);
  __u64 *packet = (void *)(long)ctx->data;
  if (!next || (void *)(packet + BENCH_WORDS) > (void *)(long)ctx->data_end)
    return 0;
  __u32 at = *next;
  *next = (at + 1) & (BENCH_FRAMES - 1);
  const struct bench_frame *frame = bpf_map_lookup_elem(&frames, &at);
  if (!frame)
    return 0;
  for (int i = 0; i < BENCH_WORDS; i++)
    packet[i] = frame->word[i];
  return 1;
}

SEC("xdp.frags")
int bench_empty(struct xdp_md *ctx)
{
  (void)ctx;
  return XDP_DROP;
}

SEC("xdp.frags")
int bench_frame(struct xdp_md *ctx)
{
  return write_frame(ctx) ? XDP_DROP : XDP_ABORTED;
}

SEC("xdp.frags")
int bench_judge(struct xdp_md *ctx)
{
  struct ps_packet *p = packet_scratch();
  if (!write_frame(ctx) || !p || packet_parse(ctx, p) != PS_REASON_NONE)
    return XDP_ABORTED;
  return policy_stage(ctx, p);
}

const char program_license[] SEC("license") = "GPL";
