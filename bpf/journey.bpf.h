// Packets on their way from one hook to another while generations change: what forwarding leaves alone of them is
// their fingerprint, and the second hook lets judge whoever judged at the first.
#pragma once
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/gate.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);  // its pages begin with a line
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_journey_line);
} journeys SEC(".maps");

static __always_inline __u64 journey_mix(__u64 h, __u32 a, __u32 b)
{
  h = (h ^ ((__u64)a << 32 | b)) * 0x9e3779b97f4a7c15ull;
  return h ^ h >> 32;
}

// Of all that TTL, DSCP, ECN, tags, MAC addresses and checksums do not touch.  0: not IP, or no header to be seen.
static __always_inline __u64 journey_fingerprint(struct xdp_md *ctx, __u32 raw, __u64 seed)
{
  void *end = (void *)(long)ctx->data_end;
  void *at = (void *)(long)ctx->data;
  if (!raw) {
    __be16 *type = at + 2 * ETH_ALEN;
    at += ETH_HLEN;
#pragma unroll
    for (int tags = 0; tags < 2; tags++) {
      if (at > end)
        return 0;
      if (*type != bpf_htons(ETH_P_8021Q) && *type != bpf_htons(ETH_P_8021AD))
        break;
      type = at + 2;
      at += 4;
    }
  }
  __u32 *ip = at;
  if (at + 20 > end)
    return 0;
  const __u32 first = bpf_ntohl(ip[0]);
  __u64 h = seed;
  __u32 length, protocol;  // length: of what follows the fixed header
  if (first >> 28 == 4) {
    protocol = bpf_ntohl(ip[2]) >> 16 & 0xff;
    length = (first & 0xffff) - 20;
    h = journey_mix(h, first & 0xff00ffff, protocol);
    h = journey_mix(h, ip[1], 4);
    h = journey_mix(h, ip[3], ip[4]);
    at += 20;
  } else if (first >> 28 == 6) {
    if (at + 40 > end)
      return 0;
    const __u32 second = bpf_ntohl(ip[1]);
    protocol = second >> 8 & 0xff;
    length = second >> 16;
    h = journey_mix(h, first & 0xf00fffff, second & 0xffffff00);
    h = journey_mix(h, ip[2], ip[3]);
    h = journey_mix(h, ip[4], ip[5]);
    h = journey_mix(h, ip[6], ip[7]);
    h = journey_mix(h, ip[8], ip[9]);
    at += 40;
  } else {
    return 0;
  }
  // Padding behind the datagram does not travel on.  Of TCP only what no MSS clamp rewrites.
  __u32 *next = at;
  if (length >= 8 && length < 65536 && at + 8 <= end)
    h = journey_mix(h, next[0], protocol == IPPROTO_UDP ? next[1] & bpf_htonl(0xffff0000) : next[1]);
  if (length >= 16 && length < 65536 && at + 16 <= end)
    h = journey_mix(h, next[2], next[3]);
  else if (length >= 12 && length < 65536 && at + 12 <= end)
    h = journey_mix(h, next[2], 12);
  if (protocol != IPPROTO_TCP && length >= 40 && length < 65536 && at + 40 <= end) {
    h = journey_mix(h, next[4], next[5]);
    h = journey_mix(h, next[6], next[7]);
    h = journey_mix(h, next[8], next[9]);
  }
  return h | 1ull << 63;
}

// `choice`: what the clock says, 1 for the candidate.  Before the instant the first hook of a packet writes it down;
// after it, the others do as the first did.  A hook that meets its own entry met another packet that looks the same.
static __always_inline __u32 journey_follow(__u64 fingerprint, __u32 hook, __u32 choice, int before)
{
  const __u64 mine = (fingerprint & ~0x1ffull) | choice << 8 | hook;
  __u32 index = fingerprint >> 32 & (PS_JOURNEY_LINES - 1);
  struct ps_journey_line *line = bpf_map_lookup_elem(&journeys, &index);
  if (!line)
    return choice;
#pragma unroll
  for (int i = 1; i < 8; i++) {
    const __u64 entry = *(volatile __u64 *)&line->word[i];
    if ((entry ^ mine) & ~0x1ffull)
      continue;
    const int other = (entry & 0xff) != hook;
    if (other && !before)
      return entry >> 8 & 1;
    if (!other || (entry >> 8 & 1) != choice)
      *(volatile __u64 *)&line->word[i] = mine;
    return choice;
  }
  if (before) {
    // Two processors in one line at once may take the same place: no lock for that.
    __u64 place = line->word[0]++ % 7 + 1;
    asm volatile("%0 &= 7" : "+r"(place));
    *(volatile __u64 *)&line->word[place] = mine;
  }
  return choice;
}
