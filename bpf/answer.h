// What programs that answer packets are told: one declaration for C and C++.
#pragma once
#include "bpf/packet.h"

// Symbol `answer_const`: the interface's addresses, the sources of ICMP errors; 0: it has none of this family.
struct ps_answer_const {
  __u32 v4;               // host order
  __u32 on;               // 1: some stage answers
  struct ps_address v6;
};
// Answers per CPU: one in PS_ANSWER_EACH ns, and PS_ANSWER_BURST of them at once.
#define PS_ANSWER_EACH 1000000ull
#define PS_ANSWER_BURST 100
#define PS_ANSWER_LANES 1024  // CPUs beyond share with others
