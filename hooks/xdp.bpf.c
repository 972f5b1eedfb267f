// The ingress of an interface: the order of stages and nothing else.
#include "bpf/quote.bpf.h"
#include "features/sets/contains.bpf.h"
#include "features/limits/limit.bpf.h"
#include "features/policy/stage.bpf.h"
#include "features/wireguard/stage.bpf.h"
#include "features/services/stage.bpf.h"
#include "features/syn_proxy/stage.bpf.h"
#include "features/receive/stage.bpf.h"

SEC("xdp")
int penstock_xdp(struct xdp_md *ctx)
{
  struct ps_packet *p = packet_scratch();
  if (!p)
    return PS_ABORTED;
  trace_begin();
  const enum ps_reason parsed = packet_parse(ctx, p);
  trace_packet();
  switch (parsed) {
  case PS_REASON_MALFORMED:
    count(hook_const.slot_malformed, packet_length(ctx));
    return hook_const.malformed;
  case PS_REASON_NOT_IP:
    count(hook_const.slot_not_ip, packet_length(ctx));
    return PS_PASS;
  default:
    break;
  }
  if ((core_const.quotes || service_const.on) && p->outer.flags & PS_QUOTES) {
    packet_quoted(ctx);
    trace_packet();
    trace_event(PS_TRACE_QUOTE, 0, 0, 0);
  }
  if (wireguard_const.ports && wireguard_stage(ctx, p) != PS_PASS)
    return PS_DROP;
  int verdict = PS_PASS;
  if (policy_const.count)
    verdict = policy_stage(ctx, p);
  else
    count(hook_const.slot_no_policy, p->length);
  if (service_const.on && verdict == PS_PASS)
    verdict = service_stage(ctx, p);
  if (syn_const.ports && verdict == PS_PASS)
    verdict = syn_proxy_stage(ctx, p);
  if (receive_const.kinds && verdict == PS_PASS)
    verdict = receive_stage(ctx, p);
  return verdict;
}

const char program_license[] SEC("license") = "GPL";
