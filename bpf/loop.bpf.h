// Loops whose length is known only at run time.
#pragma once

// Leaves a loop for `label` when its turns are used up.  With may_goto the kernel counts (to eight million), so its
// verifier need not walk each turn; clang-14 cannot spell the instruction: 0xe5, the distance in bytes 2 and 3.
#ifdef PS_LEVEL_may_goto
#define LOOP_TURN(turn, turns, label) \
  asm volatile goto("0: .byte 0xe5, 0; .long ((%l[" #label "] - 0b - 8) / 8) & 0xffff; .short 0" : : : : label)
#else
#define LOOP_TURN(turn, turns, label) \
  if ((turn)++ >= (turns))            \
  goto label
#endif
