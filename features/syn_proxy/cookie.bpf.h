// The cookie: the sequence number of a SYN-ACK that remembers the SYN, so that nobody else has to (RFC 4987 3.6).
//
//   bit 31      lowest bit of the time, in units of 2^36 ns (69 s); a cookie is good in its unit and the next
//   bits 30-29  the client's segment size, an index of PS_SYN_SIZES_*
//   bits 28-0   of SipHash-2-4 over addresses, ports, the client's sequence number, time and size
//
// The other options lie in the lower bits of the timestamp that the client sends back, as RFC 4987 3.6 proposes.
#pragma once
#include "bpf/parse.bpf.h"
#include "features/syn_proxy/tables.h"

const volatile struct ps_syn_const syn_const;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_syn_state);
} syn_proxy SEC(".maps");

// The TCP options of the packet, and what they say.  Where the walk is lies here too: of memory the verifier knows
// nothing, so it need not walk each turn.
struct syn_options {
  __u8 option[80];   // as on the wire, 40 bytes at most
  __u64 now;         // when the packet came
  struct ps_address local;  // an address that was found to be this host's
  __u64 local_at;           // in the tick of the clock that began then
  __u32 value;       // timestamp
  __u32 echo;        // the timestamp that is sent back
  __u16 mss;         // 0: not told
  __u8 scale;        // SYN_NO_SCALE: not told
  __u8 sack;
  __u8 stamped;      // there is a timestamp
  __u8 at;
  __u8 end;
  __u8 pad;
};
#define SYN_NO_SCALE 15
#define SYN_SCALE_MAX 14  // RFC 7323 2.3
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct syn_options);
} syn_scratch SEC(".maps");

static __always_inline struct syn_options *syn_scratch_options(void)
{
  __u32 zero = 0;
  return bpf_map_lookup_elem(&syn_scratch, &zero);
}

// Timestamp: 2^20 ns a unit, without the bits that carry options: 0-3 the client's window scale, 4 SACK, 5-8 our scale.
#define SYN_STAMP_BITS 9
#define SYN_STAMP_UNIT 20
#define SYN_TIME_UNIT 36

struct sip {
  __u64 v0, v1, v2, v3;
};

static __always_inline __u64 sip_turn(__u64 value, __u32 bits)
{
  return value << bits | value >> (64 - bits);
}

static __always_inline void sip_round(struct sip *s)
{
  s->v0 += s->v1;
  s->v1 = sip_turn(s->v1, 13) ^ s->v0;
  s->v0 = sip_turn(s->v0, 32);
  s->v2 += s->v3;
  s->v3 = sip_turn(s->v3, 16) ^ s->v2;
  s->v0 += s->v3;
  s->v3 = sip_turn(s->v3, 21) ^ s->v0;
  s->v2 += s->v1;
  s->v1 = sip_turn(s->v1, 17) ^ s->v2;
  s->v2 = sip_turn(s->v2, 32);
}

static __always_inline void sip_word(struct sip *s, __u64 word)
{
  s->v3 ^= word;
  sip_round(s);
  sip_round(s);
  s->v0 ^= word;
}

// SipHash-2-4 (Aumasson, Bernstein 2012) of what identifies a SYN: `d` as it came from the client.
static __always_inline __u64 syn_hash(const struct ps_syn_state *state, const struct ps_datagram *d, __u32 sequence, __u32 data)
{
  struct sip s = {state->key[0] ^ 0x736f6d6570736575ull, state->key[1] ^ 0x646f72616e646f6dull,
                  state->key[0] ^ 0x6c7967656e657261ull, state->key[1] ^ 0x7465646279746573ull};
  __u64 length = 20;
  if (d->flags & PS_IPV4) {
    sip_word(&s, d->address[PS_SOURCE].lo << 32 | (__u32)d->address[PS_DESTINATION].lo);
  } else {
    sip_word(&s, d->address[PS_SOURCE].hi);
    sip_word(&s, d->address[PS_SOURCE].lo);
    sip_word(&s, d->address[PS_DESTINATION].hi);
    sip_word(&s, d->address[PS_DESTINATION].lo);
    length = 44;
  }
  sip_word(&s, (__u64)d->port[PS_SOURCE] << 48 | (__u64)d->port[PS_DESTINATION] << 32 | sequence);
  sip_word(&s, length << 56 | data);
  s.v2 ^= 0xff;
  for (int i = 0; i < 4; i++)
    sip_round(&s);
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

// The cookie made in time unit `time` for segments of size number `size`.
static __always_inline __u32 syn_cookie(const struct ps_syn_state *state, const struct ps_datagram *d, __u32 sequence,
                                        __u32 time, __u32 size)
{
  return (time & 1) << 31 | size << 29 | (syn_hash(state, d, sequence, time << 2 | size) & 0x1fffffff);
}

#define SYN_BYTE(n) ((__u32)v[n])

// Reads one option.  Returns 0 behind the last.  A function of its own, so that the verifier walks it once and not each turn.
__noinline int syn_parse_option(void)
{
  struct syn_options *o = syn_scratch_options();
  if (!o || o->at >= o->end)
    return 0;
  const __u32 at = o->at;
  const __u8 *v = &o->option[at & 63];
  if (v[0] == 0)
    return 0;
  if (v[0] == 1) {
    o->at = at + 1;
    return 1;
  }
  const __u32 size = v[1];
  if (size < 2 || at + size > o->end)
    return 0;
  o->at = at + size;
  if (v[0] == 2 && size == 4) {
    o->mss = SYN_BYTE(2) << 8 | SYN_BYTE(3);
  } else if (v[0] == 3 && size == 3) {
    const __u32 scale = SYN_BYTE(2);
    o->scale = scale > SYN_SCALE_MAX ? SYN_SCALE_MAX : scale;
  } else if (v[0] == 4 && size == 2) {
    o->sack = 1;
  } else if (v[0] == 8 && size == 10) {
    o->value = SYN_BYTE(2) << 24 | SYN_BYTE(3) << 16 | SYN_BYTE(4) << 8 | SYN_BYTE(5);
    o->echo = SYN_BYTE(6) << 24 | SYN_BYTE(7) << 16 | SYN_BYTE(8) << 8 | SYN_BYTE(9);
    o->stamped = 1;
  }
  return 1;
}

// Reads `length` bytes of options from scratch memory.
static __always_inline void syn_parse_options(struct syn_options *o, __u32 length)
{
  o->mss = 0;
  o->sack = 0;
  o->stamped = 0;
  o->scale = SYN_NO_SCALE;
  // What most hosts send: MSS, SACK, timestamps, nop, scale; later timestamps alone.
  const __be32 *w = (const __be32 *)o->option;
  if (length == 20 && (w[0] & bpf_htonl(0xffff0000)) == bpf_htonl(0x02040000) && w[1] == bpf_htonl(0x0402080a) &&
      (w[4] & bpf_htonl(0xffffff00)) == bpf_htonl(0x01030300)) {
    const __u32 scale = bpf_ntohl(w[4]) & 0xff;
    o->mss = bpf_ntohl(w[0]);
    o->sack = o->stamped = 1;
    o->value = bpf_ntohl(w[2]);
    o->echo = bpf_ntohl(w[3]);
    o->scale = scale > SYN_SCALE_MAX ? SYN_SCALE_MAX : scale;
    return;
  }
  if (length == 12 && w[0] == bpf_htonl(0x0101080a)) {
    o->stamped = 1;
    o->value = bpf_ntohl(w[1]);
    o->echo = bpf_ntohl(w[2]);
    return;
  }
  o->at = 0;
  o->end = length > 40 ? 40 : length;
  for (int i = 0; i < 40; i++)
    if (!syn_parse_option())
      break;
}

static __always_inline int syn_port(__u16 port)
{
  for (__u32 i = 0; i < PS_SYN_PORTS && i < syn_const.ports; i++)
    if (syn_const.port[i] == port)
      return 1;
  return 0;
}
