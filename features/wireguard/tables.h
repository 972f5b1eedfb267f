// What the WireGuard guard's stage is told: one declaration for C and C++.
#pragma once
#include "bpf/types.h"

#define PS_WIREGUARD_PORTS 8  // of one interface

// Symbol `wireguard_const` in .rodata; all zero: no guard.
struct ps_wireguard_const {
  __u32 ports;                       // how many
  __u32 slot_invalid;                // where drops are counted
  __u32 limited;                     // handshakes are, by
  __u32 limit;                       // this entry of map `limits`
  __u16 port[PS_WIREGUARD_PORTS];    // host order
};
