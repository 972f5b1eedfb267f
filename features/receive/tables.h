// What the stage that strips encapsulation is told: one declaration for C and C++.
#pragma once
#include "bpf/types.h"

#define PS_RECEIVE_SETS 4  // that may name sources

enum ps_receive_kind { PS_RECEIVE_IPIP = 1, PS_RECEIVE_GUE = 2 };

// How an encapsulated packet leaves the stage; what each means is said in bpf/reasons.def.
enum ps_receive_end {
  PS_RECEIVE_DONE,
  PS_RECEIVE_NESTED,
  PS_RECEIVE_FOREIGN,
  PS_RECEIVE_FRAGMENT,
  PS_RECEIVE_UNSUPPORTED,
  PS_RECEIVE_MALFORMED,
  PS_RECEIVE_ECN,
  PS_RECEIVE_ENDS,
};

// Symbol `receive_const` in .rodata; all zero: nothing is stripped.
struct ps_receive_const {
  __u32 kinds;                   // enum ps_receive_kind, ORed
  __u32 sets;                    // how many of set[] hold sources; 0: any source
  __u32 set[PS_RECEIVE_SETS];    // indexes of map `sets`
  __u32 gue_port;                // UDP, host order
  __u32 slot[PS_RECEIVE_ENDS];   // where each end is counted
};
