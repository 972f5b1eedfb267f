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

// Constants of every program (symbol `core_const` in .rodata).
struct ps_core_const {
  __u32 counter_stride;   // slots per lane
  __u32 counter_lanes;
  __u8 trace;             // enum ps_trace_level: what the map `trace` is told
  __u8 replay;            // 1: the clock is map `replay`, sockets are never found
  __u8 no_write;          // 1: change no state (explain, risks): whoever writes to a map asks writes() first
  __u8 no_ethernet;       // 1: the device's frames begin with the IP header
  __u8 linear;            // 1: loaded without BPF_F_XDP_HAS_FRAGS, a frame has one piece (before 5.18, or by choice)
  __u8 quotes;            // 1: some stage asks for what ICMP errors quote (ps_packet.quoted)
  __u8 pad[2];
};
