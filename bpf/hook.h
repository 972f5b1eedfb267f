// What every hook is told about the interface it stands on, whatever its stages are.
#pragma once
#include "bpf/types.h"

// Symbol `hook_const` in .rodata.
struct ps_hook_const {
  __u32 interface;        // its number in the file's order, from 0
  __u32 slot_malformed;
  __u32 slot_not_ip;
  __u32 slot_no_policy;
  __u8 malformed;         // verdict for a malformed packet: PS_DROP or PS_PASS
  __u8 pad[3];
};
