// What the SYN proxy's stages are told and what they remember: one declaration for C and C++.
#pragma once
#include "bpf/types.h"

#define PS_SYN_PORTS 16        // of one interface
#define PS_SYN_INTERFACES 256  // that have a rate of their own; others share one by their number
#define PS_SYN_SECOND 30       // a "second" of the rate is 2^30 ns
#define PS_SYN_HOLD 5000000000ull    // ns, for which cookies go on after a second with too many SYNs
#define PS_SYN_HONOUR 60000000000ull // ns, for which cookies are honoured after the last one was sent

// What a SYN-ACK may offer where the client asks for it and its timestamps let the cookie carry it.
enum ps_syn_offer { PS_SYN_TIMESTAMPS = 1, PS_SYN_SACK = 2, PS_SYN_SCALE = 4 };

// Symbol `syn_const` in .rodata of both programs; all zero: no SYN proxy.
struct ps_syn_const {
  __u32 ports;                  // how many
  __u16 port[PS_SYN_PORTS];     // host order
  __u32 over;                   // SYNs in 2^30 ns
  __u32 slot_cookie;            // SYNs answered
  __u32 slot_limited;           // SYNs dropped
  __u32 slot_valid;             // cookies that came back
  __u16 mss[2];                 // that this node announces over IPv4, IPv6
  __u16 window;                 // of a SYN-ACK, bytes
  __u8 scale;                   // this node's window scale
  __u8 offers;                  // enum ps_syn_offer
  __u8 cookies;                 // 0: this kernel takes no cookies of ours: SYNs over the rate are dropped
  __u8 pad[3];
};

// Map `syn_proxy`, one entry, state: what makes cookies, the same for all generations, and when the last one was made.
struct ps_syn_state {
  __u64 key[2];     // of SipHash
  __u64 last;       // clock, ns; 0: never.  Not fresher than a tenth of a second
  __u64 pad[5];
};

// Map `syn_rates`, by interface, state.  A line of the cache each.
struct ps_syn_rate {
  __u64 second;     // number of the running second << 32 | SYNs in it, counted up to syn_const.over
  __u64 until;      // clock, ns: till then SYNs are answered
  __u64 pad[6];
};

// Segment sizes that a cookie can tell, by enum ps_packet_flags' family: of IPv4 and IPv6.
#define PS_SYN_SIZES_V4 {536, 1300, 1440, 1460}
#define PS_SYN_SIZES_V6 {1220, 1380, 1420, 1440}
