// What a program notes about the packet that it judges, when it was loaded with core_const.trace (replay, tests, explain):
// map `trace`, one entry.  Never in what judges real packets: the verifier takes it out.
#pragma once
#include "bpf/packet.h"

enum ps_trace_level {
  PS_TRACE_OFF,
  PS_TRACE_EXITS,   // slots
  PS_TRACE_EVENTS,  // and the packet and events (explain)
};

enum ps_trace_kind {
#define TRACE(number, symbol, stage, text) PS_TRACE_##symbol = number,
#include "bpf/trace.def"
#undef TRACE
};

struct ps_trace_event {
  __u32 kind;      // enum ps_trace_kind
  __u32 value[3];
};

#define PS_TRACE_SLOTS_MAX 256   // a power of two
#define PS_TRACE_EVENTS_MAX 512  // a power of two
struct ps_trace {
  __u32 slots;                           // counted by this packet, in order
  __u32 events;                          // told; those beyond the most are lost
  __u32 slot[PS_TRACE_SLOTS_MAX];        // the first ones
  __u32 decided;                         // the last one
  __u32 pad;
  struct ps_packet packet;               // as parsed
  struct ps_trace_event event[PS_TRACE_EVENTS_MAX];
};

// Map `replay`, one entry: what the world looks like to a program loaded with core_const.replay or trace.
struct ps_replay {
  __u64 now;              // ns, in the place of the coarse clock (replay)
  __u32 random;
  // Explain asks for the rules behind those that decided: policies before number `from_policy` of the hook are left out,
  // of that one the entries before `from_entry`, counted as PS_TRACE_RULE does: an index of `policy_rules`, of a short list
  // in the program, or a position in a classifier.
  __u32 from_policy;
  __u32 from_entry;
  __u32 pad;
};
