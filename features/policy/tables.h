// The tables of policies, as compile.cpp writes and stage.bpf.h reads them.
#pragma once
#include "bpf/packet.h"

#define PS_NO_SLOT 0xffffffffu

enum ps_rule_flags {
  PS_RULE_PROTO = 1 << 0,
  PS_RULE_FROM = 1 << 1,           // the source must be in set `from`
  PS_RULE_FROM_NEGATED = 1 << 2,   // must not
  PS_RULE_TO = 1 << 3,
  PS_RULE_TO_NEGATED = 1 << 4,
  PS_RULE_SOCKET = 1 << 5,         // a socket of this host owns the packet
  PS_RULE_EXTRA = 1 << 6,          // what entry `extra` of `policy_extras` asks for must hold, too
};

// Map `policy_rules`: evaluated in order, all of an entry's tests must hold.  A rule may be several entries: one for
// each set and port range, with the same slot.  "Neither in a nor in b" is told by entries that skip.
struct ps_rule {
  __u8 flags;             // enum ps_rule_flags
  __u8 needs;             // enum ps_packet_flags that the packet must have, all of them
  __u8 proto;
  __u8 verdict;           // PS_PASS, PS_DROP, PS_AUDIT; PS_TX: reject; PS_CONTINUE with PS_THEN_GO_ON;
                          // PS_RULE_SKIP: go on behind the next `slot` entries
  __u32 slot;             // of a rule that rejects an index in `policy_rejects`; with PS_THEN_LIMITED one in `limits`
  __u32 set[2];           // by enum ps_side: index in map `sets`
  __u16 port_first[2];    // by enum ps_side, inclusive, host order; 0 and 65535 when any
  __u16 port_last[2];
  __u32 extra;            // with PS_RULE_EXTRA
  __u32 then;             // enum ps_then, and from bit 8 how many entries of the same rule follow
};
// What a match does besides its verdict.  Bits of ps_class_entry.flags, too.
enum ps_then {
  PS_THEN_LIMITED = 1 << 3,             // the rule matches only packets over a limit (or within it), which is asked last
  PS_THEN_GO_ON = 1 << 4,               // the packet is counted, and goes on behind the rule
  PS_THEN_COUNT_SOURCE = 1 << 5,        // count also by the packet's source address
  PS_THEN_COUNT_DESTINATION = 1 << 6,
  PS_THEN_PERHAPS_ON = PS_THEN_GO_ON | PS_THEN_LIMITED,  // the packet may go on behind the rule
  PS_THEN_COUNTS = PS_THEN_COUNT_SOURCE | PS_THEN_COUNT_DESTINATION,
  PS_THEN_FRAGMENT = 1 << 7,            // the rule asks for later fragments: its verdict holds, not the first's
};
#define PS_RULE_SKIP 0xff
#define PS_RULES_SHORT 2  // entries of a list that is told to the program as constants

// A policy attached to several interfaces is told to each, with the same rules.
struct ps_policy {
  __u32 first_rule;       // in map `policy_rules`
  __u32 rules;            // entries, at most the level's PS_RULES_MAX; 0 with a classifier
  __u32 default_slot;
  __u32 kept_nd_slot;     // PS_NO_SLOT: nothing is kept, the default accepts
  __u32 kept_dhcp_slot;
  __u8 default_verdict;   // PS_PASS, PS_DROP or PS_AUDIT
  __u8 classified;        // 1: the first match is found by entry `classifier` of map `classifiers`
  __u8 fragments;         // 1: a later fragment takes the verdict that its first had
  __u8 pad;
  __u32 classifier;
  __u32 pad2;
  struct ps_rule rule[PS_RULES_SHORT];  // the entries too where `short_lists` is set: the verifier folds their tests
};

// Symbol `policy_const` in .rodata: the policies that this hook runs, in order.  What no rule of theirs asks, the
// verifier takes out of the program.
#define PS_POLICIES_MAX 8
struct ps_policy_const {
  __u32 count;
  __u8 rule_flags;    // enum ps_rule_flags that any rule has
  __u8 ports;         // 1: a rule asks for ports
  __u8 asks_again;    // 1: more than one rule asks for sets of the same side
  __u8 short_lists;   // 1: every policy is walked, none has more than PS_RULES_SHORT entries; none asks for sockets or goes on
  __u8 classifiers;   // 1: a policy has a classifier
  __u8 then;          // enum ps_then that any rule has
  __u8 fragments;     // 1: a policy has `fragments`
  __u8 rejects;       // 1: a rule rejects
  __u32 extras;       // enum ps_extra_kinds that any rule asks for
  struct ps_policy policy[PS_POLICIES_MAX];
};

// What rules ask for more rarely: map `policy_extras`.  Ranges include both ends; where a rule lists several, there is an
// entry for each.
enum ps_extra_kinds {
  PS_EXTRA_FLAGS = 1 << 0,
  PS_EXTRA_ICMP = 1 << 1,
  PS_EXTRA_VLAN = 1 << 2,
  PS_EXTRA_DSCP = 1 << 3,
  PS_EXTRA_HOP_LIMIT = 1 << 4,
  PS_EXTRA_LENGTH = 1 << 5,
  PS_EXTRA_FRAGMENT = 1 << 6,
  PS_EXTRA_OPTIONS = 1 << 7,
  PS_EXTRA_MAC = 1 << 8,
  PS_EXTRA_INTERFACE = 1 << 9,
};
struct ps_rule_extra {
  __u32 kinds;            // enum ps_extra_kinds: which of the following count
  __u8 tcp_mask;          // flags & tcp_mask == tcp_value
  __u8 tcp_value;
  __u8 tcp_one_of;        // one of these; 0: not asked
  __u8 icmp_type;
  __u8 icmp_code_first;
  __u8 icmp_code_last;
  __u8 fragment;          // enum ps_extra_fragment, those that match
  __u8 options;           // 1: present, 0: absent
  __u8 hop_limit_first;
  __u8 hop_limit_last;
  __u16 vlan_first;       // of the outer tag, PS_NO_VLAN without one
  __u16 vlan_last;
  __u16 length_first;     // of the IP datagram, bytes
  __u16 length_last;
  __u8 mac[6];
  __u32 interface;        // ps_hook_const.interface
  __u64 dscp;             // a bit for each value
  __u64 pad[3];
};
enum ps_extra_fragment { PS_FRAGMENT_NONE = 1, PS_FRAGMENT_FIRST = 2, PS_FRAGMENT_LATER = 4 };
#define PS_NO_VLAN 4096

// Map `policy_rejects`: where the ends of a rule that rejects are counted.
struct ps_reject {
  __u32 answered;
  __u32 unanswered;
  __u32 limited;
  __u32 pad;
};

// Map `policy_fragments`, state that generations share: what became of a datagram's first fragment.  Generations can
// share it because a slot means the same to all of them; a datagram that is on its way when the rules change is judged
// by one rule set, that of its first fragment.
struct ps_fragment_key {
  struct ps_address address[2];
  __u32 id;
  __u32 policy;           // its default_slot
  __u32 tags;             // numbers in the VLAN tags
  __u32 protocol;
};
struct ps_fragment {
  __u64 until;            // coarse clock, ns
  __u32 slot;
  __u32 outcome;          // enum ps_then << 8 | verdict
};
#define PS_FRAGMENTS 8192
#define PS_FRAGMENT_LIFE 4000000000ull  // ns

// Map `policy_talkers`, state that generations share: what rules counted by address.
struct ps_talker_key {
  struct ps_address address;
  __u32 slot;             // that the packet was counted in; of a rule that rejects its `answered`
  __u32 pad;
};
#define PS_TALKERS 65536

// How many entries one policy may have, by instruction level: without may_goto the verifier walks every turn.
#define PS_RULES_MAX_may_goto 131072
#define PS_RULES_MAX_atomics 4096
#define PS_RULES_MAX_basic 4096
#if defined(PS_LEVEL_may_goto)
#define PS_RULES_MAX PS_RULES_MAX_may_goto
#elif defined(PS_LEVEL_atomics)
#define PS_RULES_MAX PS_RULES_MAX_atomics
#elif defined(PS_LEVEL_basic)
#define PS_RULES_MAX PS_RULES_MAX_basic
#endif
