// What the generator's two halves share.  Plain C: read by clang for eBPF and by g++.
#pragma once
#include <linux/types.h>

enum flood_class { FLOOD_LISTED, FLOOD_UNLISTED, FLOOD_MALFORMED, FLOOD_CLASSES };
enum { FLOOD_HEADER = 96 };  // Ethernet + IPv6 + TCP with the options of a SYN is 94; copied in words of eight bytes

// Where source addresses are drawn from: addr | (random & host), both in network order.
struct flood_source4 { __be32 addr, host; };
struct flood_source6 { __be32 addr[4], host[4]; };

// One kind of frame.  The sums are ones-complement sums of the 16-bit words as they lie in memory, with source
// address, source port and the checksums themselves taken as zero: the program adds what it draws.
struct flood_frame {
  __u8 header[FLOOD_HEADER];
  __u32 ip_sum, l4_sum;
  __u8 tcp, pad[7];
};

// Per CPU: frames made so far, the random state and, when paced, the time (ns, monotonic) when the next one is due.
struct flood_state { __u64 sent[FLOOD_CLASSES], seed, due; };
