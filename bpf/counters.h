// The counters: one slot for each exit a packet can take, one lane for each CPU, and nothing shared between lanes.
//
// Map `counters`, shared by all generations: index = lane * stride + slot.  A slot means (rule or default or
// interface, verdict, reason); user space keeps the list (core/plan/slots.h).  Lane `lanes - 1` belongs to user space:
// it carries sums over when the map grows.
#pragma once
#include "bpf/types.h"

struct ps_counter {
  __u64 packets;
  __u64 bytes;  // of the whole frame, from the Ethernet header on
};

// What the program notes when it was loaded with trace on (replay, tests, explain): map `trace`, one entry.
#define PS_TRACE_SLOTS 256
struct ps_trace {
  __u32 count;                  // of slots counted by this packet, in order; the last decided (and is kept when there are more)
  __u32 slots[PS_TRACE_SLOTS];
};

// Constants of every program (symbol `core_const` in .rodata).
struct ps_core_const {
  __u32 counter_stride;   // slots per lane
  __u32 counter_lanes;
  __u8 trace;             // 1: fill the map `trace`
  __u8 replay;            // 1: the clock is map `replay`, sockets are never found
  __u8 no_write;          // 1: change no state (explain): counters are left alone
  __u8 no_ethernet;       // 1: the device's frames begin with the IP header
  __u8 linear;            // 1: loaded without BPF_F_XDP_HAS_FRAGS, a frame has one piece (before 5.18, or by choice)
  __u8 quotes;            // 1: some stage asks for what ICMP errors quote (ps_packet.quoted)
  __u8 pad[2];
};

// Map `replay`, one entry: what the world looks like to a program loaded with core_const.replay.
struct ps_replay {
  __u64 now;              // ns, in the place of the coarse clock
  __u32 random;
  __u32 pad;
};
