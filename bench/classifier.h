// What bench/classifier.bpf.c and bench/classifier.cpp share.
#pragma once
#include <linux/types.h>

#define BENCH_FRAMES 32768
#define BENCH_WORDS 10  // 80 bytes: Ethernet, IPv6 and TCP
#define BENCH_SLOTS 131072

struct bench_frame {
  __u64 word[BENCH_WORDS];
};
