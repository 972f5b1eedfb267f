// Integer types and enums that the programs and user space share.  Everything here compiles as C and as C++.
#pragma once
#include <linux/types.h>

// What happened to a packet.  The first five are the kernel's enum xdp_action; audit is a drop that was only counted,
// continue a match behind which judging went on.
enum ps_verdict {
  PS_ABORTED = 0,
  PS_DROP = 1,
  PS_PASS = 2,
  PS_TX = 3,
  PS_REDIRECT = 4,
  PS_AUDIT = 5,
  PS_CONTINUE = 6,
};

// Why.  Stable numbers, see reasons.def.
enum ps_reason {
#define REASON(number, symbol, name, text) PS_REASON_##symbol = number,
#include "bpf/reasons.def"
#undef REASON
};
