// The gate at an XDP hook, see bpf/gate.h.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/clock.bpf.h"
#include "bpf/journey.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_txn);
} txn SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 2 * PS_GATE_HOOKS);
  __type(key, __u32);
  __type(value, __u32);
} programs SEC(".maps");

const volatile struct ps_gate_const gate_const = {};

// The deadline has passed: from now on nobody can confirm.  Returns the deadline as it is then: PS_GATE_FOREVER where
// somebody was faster.  Kernels of the level `basic` know no compare-and-swap; there `confirm` looks at the clock again.
static __always_inline __u64 close_deadline(struct ps_txn *word, __u64 deadline)
{
#ifdef PS_LEVEL_basic
  (void)word;
  return deadline;
#else
  return __sync_val_compare_and_swap(&word->deadline, deadline, deadline | PS_GATE_CLOSED);
#endif
}

SEC("xdp")
int penstock_gate(struct xdp_md *ctx)
{
  __u32 zero = 0;
  struct ps_txn *word = bpf_map_lookup_elem(&txn, &zero);
  if (word) {
    const __u64 now = clock_coarse();
    const __u64 start = *(volatile __u64 *)&word->start;
    __u64 deadline = *(volatile __u64 *)&word->deadline;
    if (now >= deadline && deadline && !(deadline & PS_GATE_CLOSED))
      deadline = close_deadline(word, deadline);
    const __u64 end = deadline & ~PS_GATE_CLOSED;
    __u32 candidate = start <= now && now < end;
    if (gate_const.window) {
      const int at_start = !deadline || now - start + gate_const.window < 2 * gate_const.window;
      if (at_start || now - end + gate_const.window < 2 * gate_const.window) {
        const __u64 fingerprint = journey_fingerprint(ctx, gate_const.raw, gate_const.seed);
        if (fingerprint)
          candidate = journey_follow(fingerprint, gate_const.hook, candidate, !deadline || now < (at_start ? start : end));
      }
    }
    bpf_tail_call(ctx, &programs, 2 * gate_const.hook + (candidate & 1));
  }
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
