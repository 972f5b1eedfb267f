// The tables of services, as compile.cpp writes and the stage reads them: one declaration for C and C++.
//
// A packet's destination leads to a service by a hash of frontends.  The connection's entry in the flow table names a
// backend; a connection that has none is given one by the service's ring.  Bytes of table are what many flows cost, so an
// entry has 16 of them, four lie in one line of the cache, and a lookup touches no other.
#pragma once
#include "bpf/packet.h"

// Map `service_frontends`: a cuckoo hash; a frontend lies in one of the two lines that its hash names.
struct ps_frontend {
  struct ps_address address;
  __u16 port;                   // host order; 0: the entry stands for the address itself
  __u8 protocol;                // 0 likewise
  __u8 used;
  __u32 first;                  // index in `services`; of an address: the first of its entries in `service_ranges`
  __u32 ranges;                 // of an address: how many
  __u32 any;                    // of an address: index in `services` of one that it is of
};
struct ps_frontend_line {
  struct ps_frontend entry[2];
} __attribute__((aligned(64)));

// Map `service_ranges`: ports of an address, those of one address together, in no order, disjoint.
struct ps_service_range {
  __u16 first, last;            // inclusive, host order
  __u32 protocol;
  __u32 service;
  __u32 pad;
};
#define PS_RANGES_MAX 1024      // of one address
#define PS_REVERSE 0x80         // with `protocol`: the entry stands for a backend's address and port, and what it leads to is
                                // the first of its entries in `service_reverses` (nat_tables.h)

enum ps_service_flags {
  PS_SERVICE_CLIENT = 1 << 0,       // affinity: the client's address alone chooses the place in the ring
  PS_SERVICE_ROUND_ROBIN = 1 << 1,
  PS_SERVICE_RANDOM = 1 << 2,
  PS_SERVICE_NAT = 1 << 3,          // packets become the backend's own
  PS_SERVICE_SOURCE_NAT = 1 << 4,   // and come from this node
};

// Map `services`.  A line: what each packet needs.
struct ps_service {
  __u64 on;                     // a bit for each interface, by ps_hook_const.interface
  __u32 ring;                   // its first entry in `service_ring`
  __u32 ring_size;              // 0: there is no backend that takes connections
  __u32 flags;                  // enum ps_service_flags
  __u32 sources;                // how many entries of `service_sources` may use it, from `first_source` on; 0: everybody
  __u32 first_source;
  __u32 mss;                    // that SYNs may announce, bytes; 0: as they are
  __u32 slot[7];                // by enum ps_service_exit
  __u32 pad;
};
// What can become of a service's packet besides going to a backend.
enum ps_service_exit {
  PS_EXIT_NO_BACKEND,
  PS_EXIT_SOURCE,               // it may not use the service
  PS_EXIT_FRAGMENT,             // a later fragment whose first was not seen
  PS_EXIT_TOO_BIG,              // answered
  PS_EXIT_TOO_BIG_SILENT,       // not answered
  PS_EXIT_ECHO,                 // a ping, answered
  PS_EXIT_ERROR_LOST,           // an ICMP error about a packet of which nothing tells who sent it
};

// Map `service_sources`: indices in map `sets`.

// Map `service_ring`: backend ids.  A line of them, so that the map can be mapped without holes.
struct ps_ring_line {
  __u32 id[16];
};

enum ps_encap { PS_ENCAP_NONE, PS_ENCAP_IPIP, PS_ENCAP_GUE };

enum ps_backend_flags {
  PS_BACKEND_LOCAL = 1 << 0,    // this node
  PS_BACKEND_SPREAD = 1 << 1,   // the outer source varies below `source_bits`
};

// Map `service_backends`, by id.  Ids are given to another backend only when nothing names the first any more.  A line.
struct ps_backend {
  struct ps_address address;
  struct ps_address source;     // of outer headers
  __u32 service;                // index in `services` + 1; 0: no backend has this id
  __u32 slot[5];                // by enum ps_backend_exit
  __u16 mtu;                    // of the way there, bytes, the outer header included; 0: the route knows
  __u16 gue_port;
  __u8 encap;                   // enum ps_encap
  __u8 flags;                   // enum ps_backend_flags
  __u8 source_bits;             // how many low bits of the outer source vary
  __u8 state;                   // enum ps_backend_state, as the file says
};
enum ps_backend_exit {
  PS_EXIT_FORWARDED,
  PS_EXIT_RETURNED,             // forwarded by the interface that it came by
  PS_EXIT_STACK,                // handed to the host, for which it is or which sends it on
  PS_EXIT_NO_ROUTE,
  PS_EXIT_ABORTED,              // the frame had no room for the header
};

// What may be done with a backend.
enum ps_backend_state {
  PS_BACKEND_UP,
  PS_BACKEND_DRAINING,          // its connections go on, others are not given to it
  PS_BACKEND_DOWN,              // its connections are given to others
};
// Map `service_states`, by id, state that generations share: what was found out or ordered at run time.
struct ps_service_state {
  __u8 health;                  // enum ps_backend_state: what checks found
  __u8 admin;                   // enum ps_backend_state: what `penstock service` ordered
  __u16 weight;                 // of its configured weight, in 1/1000, while it starts slowly; 0: all of it
  __u32 failed;                 // 1: by its checks, also where `health` keeps it in use all the same
  __u64 since;                  // wall clock, ms: of the last change of `failed`; 0: nothing was checked
};

// Map `service_flows`, state that generations share.  Line 0 is the head.
struct ps_flow {
  __u64 print;                  // keyed hash of addresses, protocol and ports; 0: free
  __u64 word;                   // see PS_FLOW_*
};
struct ps_flow_line {
  struct ps_flow flow[4];
} __attribute__((aligned(64)));
struct ps_flow_head {
  __u64 layout;                 // PS_FLOW_LAYOUT
  __u64 seed;                   // random
  __u64 multiplier[2];          // random, even
  __u64 pad[4];
};
#define PS_FLOW_LAYOUT 1
// The word: check | time << 16 | phase << 32 | backend id << 36.  The check is the print's low 16 bits: two CPUs that write
// one entry at once leave a word that belongs to no print, not a connection on another's backend.
#define PS_FLOW_CHECK 0xffffull
#define PS_FLOW_TIME 16
#define PS_FLOW_PHASE 32
#define PS_FLOW_BACKEND 36
#define PS_FLOW_TICK 30         // a unit of time is 2^30 ns
enum ps_flow_phase {            // PS_FLOW_NEW to _RESET are of TCP
  PS_FLOW_NEW,                  // seen once, or SYNs only: makes room for others
  PS_FLOW_LIVE,                 // makes room for nobody until it is idle
  PS_FLOW_CLOSING,              // a FIN was seen
  PS_FLOW_RESET,
  PS_FLOW_NEW_UDP,
  PS_FLOW_LIVE_UDP,
  PS_FLOW_PHASES = 8,
};

// Map `service_flow_counts`, by CPU.
struct ps_flow_counts {
  __u64 inserted;
  __u64 evicted;                // entries that made room before they were idle: none of them was live
  __u64 refused;                // connections that found no place: the ring alone says where they go
  __u64 pad[5];
};

// Map `service_fragments`: where the first fragment of a datagram went.
struct ps_service_fragment_key {
  struct ps_address address[2];
  __u32 id;
  __u32 protocol;
};
struct ps_service_fragment {
  __u64 until;                  // clock, ns
  __u32 backend;                // 0: of a backend, and `address` is what its addresses become
  __u32 pad;
  struct ps_address address[2];
};
#define PS_SERVICE_FRAGMENTS 8192
#define PS_SERVICE_FRAGMENT_LIFE 4000000000ull

// Map `service_hops`, by CPU and backend id: the next hop, as the kernel's tables said lately.
struct ps_hop {
  __u64 until;                  // clock, ns: then they are asked again
  __u64 seen;                   // clock, ns: when the neighbour was last known
  __u32 ifindex;
  __u16 mtu;                    // bytes; 0: not known
  __u16 tag;                    // VLAN of the frames, with PS_HOP_TAGGED
  __u8 mac[12];                 // destination, source
  __u8 how;                     // enum ps_hop_how
  __u8 tagged;                  // 0: no VLAN tag, 1: `tag`, 2: the tags that the packet has
  __u8 pad[2];
};
enum ps_hop_how { PS_HOP_NONE, PS_HOP_REDIRECT, PS_HOP_STACK, PS_HOP_NO_ROUTE, PS_HOP_REPLAY };
#define PS_HOP_LIFE 250000000ull        // ns
#define PS_HOP_LIFE_UNKNOWN 20000000ull // of "no neighbour"
#define PS_HOP_TRUST 1000000000ull      // ns, for which a neighbour whom the kernel asks for anew is believed to be where it was

// Map `service_egress`, by ifindex: devices that XDP cannot transmit by under their own number.
struct ps_egress {
  __u32 ifindex;                // the device to transmit by; 0: none, up the stack
  __u16 tag;
  __u16 tagged;
};

#define PS_EGRESS_DEVICES 1024

// Map `replay_neighbors`, in replay only: address -> MAC.
struct ps_neighbor {
  __u8 mac[6];
  __u8 pad[2];
};
#define PS_REPLAY_MAC {0x02, 0, 0, 0, 0, 0xfe}  // of those that are not in it
#define PS_REPLAY_NEIGHBORS 1024

// Symbol `service_const` in .rodata; all zero: no services.
struct ps_service_const {
  __u32 on;
  __u32 frontend_mask;          // lines of `service_frontends` - 1
  __u32 ranges;                 // 1: some frontend has a range of ports
  __u32 flow_mask;              // lines of `service_flows` behind the head - 1
  __u32 sources;                // 1: some service asks who may use it
  __u32 capacity;               // entries of the maps by backend id
  __u32 encaps;                 // a bit for each enum ps_encap in use
  __u32 mss;                    // 1: some service clamps
  __u16 idle[PS_FLOW_PHASES];   // by phase: after how many units of time an entry is idle
};
