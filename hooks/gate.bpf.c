// The gate at an XDP hook, see bpf/gate.h.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/clock.bpf.h"
#include "bpf/gate.h"

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

SEC("xdp")
int penstock_gate(struct xdp_md *ctx)
{
  __u32 zero = 0;
  struct ps_txn *word = bpf_map_lookup_elem(&txn, &zero);
  if (word) {
    __u64 deadline = *(volatile __u64 *)&word->deadline;
    bpf_tail_call(ctx, &programs, 2 * gate_const.hook + (clock_coarse() < deadline));
  }
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
