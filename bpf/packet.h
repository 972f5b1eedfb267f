// The parsed packet: every stage reads it, nothing parses twice.
//
// bpf/parse.bpf.h fills it from the frame.  Shared with user space so that tests can look at it.
#pragma once
#include "bpf/types.h"

// IPv4 addresses lie in ::ffff:0:0/96, as core/net/address.h has it.
struct ps_address {
  __u64 hi;  // host order, the first eight bytes on the wire
  __u64 lo;
};
#define PS_V4_MARK 0x0000ffff00000000ull

enum ps_side { PS_SOURCE = 0, PS_DESTINATION = 1 };

enum ps_packet_flags {
  PS_IPV4 = 1 << 0,
  PS_IPV6 = 1 << 1,
  PS_FIRST_FRAGMENT = 1 << 2,
  PS_LATER_FRAGMENT = 1 << 3,  // no transport header here
  PS_PORTS = 1 << 4,           // TCP or UDP, ports known
  PS_ICMP = 1 << 5,            // ICMP over IPv4 or ICMPv6 over IPv6, type and code known
  PS_QUOTES = 1 << 6,          // an ICMP error: the packet it is about is quoted eight bytes behind `transport`
  PS_OPTIONS = 1 << 7,         // IPv4 options, or IPv6 extension headers other than the fragment header
};

// What a rule can ask of a datagram.
struct ps_datagram {
  struct ps_address address[2];  // by enum ps_side
  __u16 port[2];                 // by enum ps_side, host order; 0 without PS_PORTS
  __u16 network;                 // offset of the IP header in the frame, bytes
  __u16 transport;               // offset of what follows the IP header and its extensions
  __u32 end;                     // offset just behind the datagram; padding lies beyond
  __u8 protocol;                 // of what follows; in a later fragment what its header says
  __u8 flags;                    // enum ps_packet_flags
  __u8 hop_limit;                // or time to live
  __u8 tcp_flags;                // the byte with FIN (1) to CWR (128)
  __u8 icmp_type;
  __u8 icmp_code;
  __u8 dscp;
  __u8 pad;
  __u32 fragment;                // of a fragment: the identification that all of its datagram have
};

// What a lookup costs is paid once a packet: `known` and `member` have a bit for each of the first 64 sets.
struct ps_set_memo {
  __u64 known;
  __u64 member;
};

enum ps_socket_memo { PS_SOCKET_UNKNOWN, PS_SOCKET_ABSENT, PS_SOCKET_PRESENT };

// One per CPU, map `scratch`.  A stage leaves here, in a field of its own name, what later stages need.
struct ps_packet {
  struct ps_datagram outer;
  __u32 length;                 // of the frame, bytes; padding in fragments is left out
  __u8 vlans;                   // 0, 1 or 2 tags
  __u8 socket;                  // enum ps_socket_memo
  __u16 vlan[2];                // tag control information, outer first, host order; valid below `vlans`
  __u32 limited;                // what a match of a rule with a limit is counted in: ps_rule.slot
  __u32 extensions;             // how many extension headers were walked; in memory, where the verifier keeps no count
  struct ps_set_memo sets[2];   // by enum ps_side
  struct ps_datagram quoted;    // with core_const.quotes and PS_QUOTES: what the ICMP error is about, as it was sent.
                                // `flags` 0: nothing that makes sense; `tcp_flags` is not read
};
