// The segment size that a SYN announces, clamped (RFC 6691): where the way to a backend is narrower than the client can know.
#pragma once
#include "features/services/flows.bpf.h"
#include "bpf/answer_error.bpf.h"

#define MSS_TURNS 20     // options of one SYN that are looked at

// Kind << 8 | length of the option at `at`; 0: no more come.  A function of its own, so that a loop that calls it is short.
__noinline __u32 service_option(struct xdp_md *ctx, __u32 at)
{
  const __u8 *option = service_const.mss ? packet_header(ctx, at, 2) : 0;
  if (!option || !option[0])
    return 0;
  return option[0] << 8 | (option[0] == 1 ? 1 : option[1] < 2 ? 40 : option[1]);
}

// The offset of the option's value in the frame; 0: there is none.
__noinline __u32 service_mss_at(struct xdp_md *ctx)
{
  const struct ps_packet *p = packet_scratch();
  __u32 turn __attribute__((unused)) = 0;
  if (!service_const.mss || !p)
    return 0;
  const __u8 *tcp = packet_header(ctx, p->outer.transport, 14);
  if (!tcp)
    return 0;
  const __u32 end = p->outer.transport + (tcp[12] >> 4 << 2);
  __u32 at = p->outer.transport + 20;
  for (__u32 i = 0; i < MSS_TURNS; i++) {
    LOOP_TURN(turn, MSS_TURNS, out);
    const __u32 option = service_option(ctx, at);
    if (!option || at + 4 > end)
      return 0;
    if (option == (2 << 8 | 4))
      return at + 2;
    at += option & 0xff;
  }
out:
  return 0;
}

// Of the SYN at hand.  What cannot be written stays as it is.
__noinline int service_clamp(struct xdp_md *ctx, __u32 most)
{
  const struct ps_packet *p = packet_scratch();
  if (!service_const.mss || !p)
    return 0;
  const __u32 at = service_mss_at(ctx), sum_at = p->outer.transport + 16;
  if (!at)
    return 0;
  const __u8 *value = packet_header(ctx, at, 2);
  if (!value)
    return 0;
  const __u32 old = value[0] << 8 | value[1];
  if (old <= most)
    return 0;
  const __u16 *h = packet_header(ctx, sum_at, 2);
  if (!h)
    return 0;
  // RFC 1624, equation 3; a value at an odd place stands in two words of the sum.
  const __u32 odd = (at - p->outer.transport) & 1;
  __u16 was = odd ? (old & 0xff) << 8 | old >> 8 : old, is = odd ? (most & 0xff) << 8 | most >> 8 : most;
  __u16 sum = answer_checksum((__u64)(__u16)~*h + (__u16)~bpf_htons(was) + bpf_htons(is));
  __be16 wire = bpf_htons(most);
  if (answer_store(ctx, at, &wire, 2))
    return 0;
  return answer_store(ctx, sum_at, &sum, 2);
}
