// The stage that judges: each policy of the hook in order, each policy's rules in order, the first match decides.
#pragma once
#include "bpf/loop.bpf.h"
#include "bpf/parse.bpf.h"
#include "features/policy/classifier.bpf.h"
#include "features/policy/extra.bpf.h"
#include "features/policy/fragments.bpf.h"
#include "features/policy/reject.bpf.h"
#include "features/policy/tables.h"

// The rules are walked in blocks; without may_goto the verifier walks every turn of a loop, so a block is short.
#ifdef PS_LEVEL_may_goto
#define POLICY_BLOCK PS_RULES_MAX_may_goto
#else
#define POLICY_BLOCK 32
#endif
#define POLICY_BLOCKS (PS_RULES_MAX / POLICY_BLOCK)

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_rule);
} policy_rules SEC(".maps");

// From the stage of sets: is the address of `side` in set `set`?  In place, or as a function of its own.
static int set_holds(const struct ps_packet *p, __u32 set, __u32 side);
int set_contains(__u32 set, __u32 side);

// From the stage of limits: ps_rule.slot of the match of a rule with limit `index`, or PS_NO_SLOT where it does not match.
__u32 limit_slot(__u32 index);

// All else of an entry matches: does the rule, and what is it counted in?  Leaves the latter in p->limited.
static __always_inline int policy_limit(struct ps_packet *p, __u32 slot, __u32 then)
{
  if (!(policy_const.then & PS_THEN_LIMITED && then & PS_THEN_LIMITED))
    return 1;
  p->limited = limit_slot(slot);
  return p->limited != PS_NO_SLOT;
}
static __always_inline __u32 policy_slot(const struct ps_packet *p, __u32 slot, __u32 then)
{
  return policy_const.then & PS_THEN_LIMITED && then & PS_THEN_LIMITED ? p->limited : slot;
}

// Is the address of `side` in the set, or not in it if `negated`?  The first 64 sets are asked once a packet.
static __always_inline int policy_in_set(struct ps_packet *p, __u32 set, __u32 side, __u32 negated, int in_place)
{
  if (!policy_const.asks_again) {
    const int in = in_place ? set_holds(p, set, side) : set_contains(set, side);
    return negated ? !in : in;
  }
  const __u64 bit = 1ull << (set & 63);
  if (set < 64 && p->sets[side].known & bit)
    return (p->sets[side].member & bit) != 0 ? !negated : !!negated;
  const int member = (in_place ? set_holds(p, set, side) : set_contains(set, side)) != 0;
  if (set < 64) {
    p->sets[side].known |= bit;
    if (member)
      p->sets[side].member |= bit;
  }
  return negated ? !member : member;
}

// Does a socket of this host own the packet?  A listening TCP socket does not: it would own every SYN.
static __noinline int policy_find_socket(struct xdp_md *ctx)
{
  struct ps_packet *p = packet_scratch();
  if (!p || core_const.replay)
    return 0;
  const struct ps_datagram *d = &p->outer;
  if (!(d->flags & PS_PORTS))
    return 0;
  struct bpf_sock_tuple tuple = {};
  __u32 size;
  if (d->flags & PS_IPV4) {
    tuple.ipv4.saddr = bpf_htonl(d->address[PS_SOURCE].lo);
    tuple.ipv4.daddr = bpf_htonl(d->address[PS_DESTINATION].lo);
    tuple.ipv4.sport = bpf_htons(d->port[PS_SOURCE]);
    tuple.ipv4.dport = bpf_htons(d->port[PS_DESTINATION]);
    size = sizeof tuple.ipv4;
  } else {
    __be64 *source = (__be64 *)tuple.ipv6.saddr, *destination = (__be64 *)tuple.ipv6.daddr;
    source[0] = bpf_cpu_to_be64(d->address[PS_SOURCE].hi);
    source[1] = bpf_cpu_to_be64(d->address[PS_SOURCE].lo);
    destination[0] = bpf_cpu_to_be64(d->address[PS_DESTINATION].hi);
    destination[1] = bpf_cpu_to_be64(d->address[PS_DESTINATION].lo);
    tuple.ipv6.sport = bpf_htons(d->port[PS_SOURCE]);
    tuple.ipv6.dport = bpf_htons(d->port[PS_DESTINATION]);
    size = sizeof tuple.ipv6;
  }
  int owned = 0;
  if (d->protocol == IPPROTO_TCP) {
    struct bpf_sock *sock = bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
    if (!sock)
      return 0;
    owned = sock->state != BPF_TCP_LISTEN;
    bpf_sk_release(sock);
  } else {
    struct bpf_sock *sock = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
    if (!sock)
      return 0;
    owned = 1;
    bpf_sk_release(sock);
  }
  return owned;
}

static __always_inline int policy_owned(struct xdp_md *ctx, struct ps_packet *p)
{
  if (p->socket == PS_SOCKET_UNKNOWN) {
    p->socket = policy_find_socket(ctx) ? PS_SOCKET_PRESENT : PS_SOCKET_ABSENT;
    trace_event(PS_TRACE_SOCKET, p->socket == PS_SOCKET_PRESENT, 0, 0);
  }
  return p->socket == PS_SOCKET_PRESENT;
}

// The cheap tests first: memory beyond the packet and the rule is touched only when all else holds.
static __always_inline int policy_matches(struct xdp_md *ctx, struct ps_packet *p, const struct ps_rule *rule,
                                          int in_place)
{
  const struct ps_datagram *d = &p->outer;
  const __u32 flags = rule->flags, used = policy_const.rule_flags;
  if (rule->needs & ~d->flags)
    return 0;
  if (used & PS_RULE_PROTO && flags & PS_RULE_PROTO && rule->proto != d->protocol)
    return 0;
  if (policy_const.ports &&
      (d->port[PS_SOURCE] < rule->port_first[PS_SOURCE] || d->port[PS_SOURCE] > rule->port_last[PS_SOURCE] ||
       d->port[PS_DESTINATION] < rule->port_first[PS_DESTINATION] ||
       d->port[PS_DESTINATION] > rule->port_last[PS_DESTINATION]))
    return 0;
  if (used & PS_RULE_EXTRA && flags & PS_RULE_EXTRA && !policy_extra(ctx, rule->extra))
    return 0;
  if (used & PS_RULE_FROM && flags & PS_RULE_FROM &&
      !policy_in_set(p, rule->set[PS_SOURCE], PS_SOURCE, used & PS_RULE_FROM_NEGATED ? flags & PS_RULE_FROM_NEGATED : 0, in_place))
    return 0;
  if (used & PS_RULE_TO && flags & PS_RULE_TO &&
      !policy_in_set(p, rule->set[PS_DESTINATION], PS_DESTINATION, used & PS_RULE_TO_NEGATED ? flags & PS_RULE_TO_NEGATED : 0, in_place))
    return 0;
  return !(used & PS_RULE_SOCKET && flags & PS_RULE_SOCKET) || policy_owned(ctx, p);
}

// Neighbour discovery (RFC 4861): router and neighbour solicitation and advertisement, redirect.
static __always_inline int policy_is_nd(const struct ps_datagram *d)
{
  return (d->flags & (PS_IPV6 | PS_ICMP)) == (PS_IPV6 | PS_ICMP) && d->icmp_type >= 133 && d->icmp_type <= 137 &&
         d->hop_limit == 255;
}

static __always_inline int policy_is_dhcp_reply(const struct ps_datagram *d)
{
  if (!(d->flags & PS_PORTS) || d->protocol != IPPROTO_UDP)
    return 0;
  return d->flags & PS_IPV4 ? d->port[PS_SOURCE] == 67 && d->port[PS_DESTINATION] == 68
                            : d->port[PS_SOURCE] == 547 && d->port[PS_DESTINATION] == 546;
}

// Counts a match behind which the packet goes on; `entry` as in PS_TRACE_RULE.
__noinline int policy_pass(__u32 slot, __u32 then, __u32 entry)
{
  struct ps_packet *p = packet_scratch();
  trace_event(PS_TRACE_RULE, entry, slot, 0);
  if (p)
    count(slot, p->length);
  return then & PS_THEN_COUNTS ? policy_talk(slot, then) : 0;
}

// Walks the entries from `at` to before `end`.  Returns POLICY_MATCHED | the index of the entry that matched, or the
// index to go on from: `end`, or less when a block is used up.  A function of its own: the verifier walks it once.
__noinline __u64 policy_walk(struct xdp_md *ctx, __u32 at, __u32 end)
{
  struct ps_packet *p = packet_scratch();
  if (!p)
    return end;
  __u32 turn __attribute__((unused)) = 0;
  for (; at < end; at++) {
    LOOP_TURN(turn, POLICY_BLOCK, out);
    const struct ps_rule *rule = bpf_map_lookup_elem(&policy_rules, &at);
    if (!rule)
      return end;
    if (!policy_matches(ctx, p, rule, 0))
      continue;
    if (rule->verdict == PS_RULE_SKIP) {
      at += rule->slot;
      continue;
    }
    const __u32 then = rule->then;
    const int matched = policy_limit(p, rule->slot, then);
    if (matched && !(policy_const.then & PS_THEN_GO_ON && then & PS_THEN_GO_ON))
      return POLICY_MATCHED | at;
    if (matched)
      policy_pass(policy_slot(p, rule->slot, then), then, at);
    at += then >> 8;
  }
out:
  return at;
}

// The whole list, block by block: POLICY_MATCHED | the index of the entry that matched, or an index not below `end`; below
// it the list was too long.  The verifier walks this once too, whatever each policy's numbers are.
__noinline __u64 policy_walk_blocks(struct xdp_md *ctx, __u32 first, __u32 end)
{
  __u64 at = first;
  for (__u32 i = 0; i < POLICY_BLOCKS && at < end; i++)
    at = policy_walk(ctx, at, end);
  return at;
}

// Tells explain which entry matched, and the slot that its rule is counted in.
static __always_inline void policy_trace(__u32 entry, __u32 slot, __u32 verdict)
{
  if (core_const.trace < PS_TRACE_EVENTS)
    return;
  if (policy_const.rejects && verdict == PS_TX) {
    const struct ps_reject *slots = bpf_map_lookup_elem(&policy_rejects, &slot);
    if (slots)
      slot = slots->answered;
  }
  trace_event(PS_TRACE_RULE, entry, slot, 0);
}

// The entry of a list of at most PS_RULES_SHORT that matched, or NULL.  Part of the program, and the entries are its
// constants: a call or a lookup costs more than such a list.
static __always_inline const struct ps_rule *policy_walk_short(struct xdp_md *ctx, struct ps_packet *p, __u32 number)
{
  const volatile struct ps_policy *policy = &policy_const.policy[number];
  __u32 least = trace_from_entry(number);
#pragma unroll
  for (__u32 at = 0; at < PS_RULES_SHORT; at++) {
    if (at >= policy->rules || at < least)
      continue;
    const struct ps_rule *rule = (const struct ps_rule *)&policy->rule[at];
    asm volatile("" : "+r"(rule));  // clang must not take the zeros of the object for the entry
    if (!policy_matches(ctx, p, rule, 1))
      continue;
    if (rule->verdict == PS_RULE_SKIP) {
      least = at + 1 + rule->slot;
      continue;
    }
    if (policy_limit(p, rule->slot, rule->then)) {
      policy_trace(at, policy_slot(p, rule->slot, rule->then), rule->verdict);
      return rule;
    }
    least = at + 1 + (rule->then >> 8);
  }
  return NULL;
}

// The entry of any list that matched.  Returns 1 when the list was too long to be walked.
static __always_inline int policy_walk_long(struct xdp_md *ctx, const struct ps_packet *p, __u32 number, const struct ps_rule **matched)
{
  const volatile struct ps_policy *policy = &policy_const.policy[number];
  const __u32 end = policy->first_rule + policy->rules;
  const __u32 least = trace_from_entry(number);
  const __u64 at = policy_walk_blocks(ctx, least > policy->first_rule ? least : policy->first_rule, end);
  if (!(at & POLICY_MATCHED))
    return at < end;
  const __u32 index = at;
  *matched = bpf_map_lookup_elem(&policy_rules, &index);
  if (*matched)
    policy_trace(index, policy_slot(p, (*matched)->slot, (*matched)->then), (*matched)->verdict);
  return !*matched;
}

// From a classifier, the line of the entry from position `least` on that decides, or CLASS_NONE; counts those behind which
// the packet goes on.
__noinline __u32 policy_classify(struct xdp_md *ctx, __u32 index, __u32 least)
{
  struct ps_packet *p = packet_scratch();
  if (!p)
    return CLASS_NONE;
  CLASS_ROLLED
  for (int i = 0; i <= CLASS_TURNS; i++) {
    const __u32 line = class_find(ctx, index, least);
    const struct ps_class_entry *entry = class_entry(line);
    if (!entry)
      return line;
    const int matched = policy_limit(p, entry->slot, entry->flags);
    if (matched && !(entry->flags & PS_THEN_GO_ON))
      return line;
    if (matched)
      policy_pass(policy_slot(p, entry->slot, entry->flags), entry->flags, entry->position);
    least = entry->position + 1;
  }
  return CLASS_NONE;
}

// What judging found, before it is counted.
struct policy_decision {
  __u64 slot;      // of ps_rule; whole words, since clang spills words and would read halves of them
  __u64 then;      // enum ps_then
  __u64 verdict;   // of ps_rule
};

// The rule that matches in the hook's policy number `number`, or the default.
static __always_inline struct policy_decision policy_decide(struct xdp_md *ctx, struct ps_packet *p, __u32 number)
{
  const volatile struct ps_policy *policy = &policy_const.policy[number];
  const __u32 least = trace_from_entry(number);
  trace_event(PS_TRACE_POLICY, number, 0, 0);
  if (policy_const.classifiers && policy->classified) {
    const __u32 line = policy_const.then & PS_THEN_PERHAPS_ON ? policy_classify(ctx, policy->classifier, least)
                                                         : classifier_line(ctx, policy->classifier, least);
    const struct ps_class_entry *entry = class_entry(line);
    if (entry) {
      const __u32 slot = policy_slot(p, entry->slot, entry->flags);
      policy_trace(entry->position, slot, entry->verdict);
      return (struct policy_decision){slot, entry->flags, entry->verdict};
    }
  }
  const struct ps_rule *rule = NULL;
  if (policy_const.short_lists)
    rule = policy_walk_short(ctx, p, number);
  else if (policy_walk_long(ctx, p, number, &rule))
    return (struct policy_decision){PS_NO_SLOT, 0, PS_ABORTED};
  if (rule)
    return (struct policy_decision){policy_slot(p, rule->slot, rule->then), rule->then, rule->verdict};
  const __u32 verdict = policy->default_verdict;
  if (verdict != PS_PASS && policy_is_nd(&p->outer))
    return (struct policy_decision){policy->kept_nd_slot, 0, PS_PASS};
  if (verdict != PS_PASS && policy_is_dhcp_reply(&p->outer))
    return (struct policy_decision){policy->kept_dhcp_slot, 0, PS_PASS};
  return (struct policy_decision){policy->default_slot, 0, verdict};
}

// Of fragments, of packets to be rejected and of those counted by address, what becomes of them; `policy` is its
// default_slot, `outcome` what judging found: enum ps_then << 8 | verdict.
__noinline int policy_special(struct xdp_md *ctx, __u32 policy, __u32 slot, __u32 outcome)
{
  const struct ps_packet *p = packet_scratch();
  if (!p)
    return PS_ABORTED;
  if (policy_const.fragments && p->outer.flags & PS_LATER_FRAGMENT && !(outcome & PS_THEN_FRAGMENT << 8)) {
    const __u64 first = policy_fragment_first(policy);
    if (first >> 32 != PS_CONTINUE) {
      trace_event(PS_TRACE_FRAGMENT, first, 0, 0);
      slot = first;
      outcome = first >> 32;
    }
  }
  const __u32 verdict = outcome & 0xff, then = outcome >> 8;
  if (policy_const.rejects && verdict == PS_TX)
    return policy_reject(ctx, slot, policy, then);
  if (policy_const.fragments && p->outer.flags & PS_FIRST_FRAGMENT)
    policy_fragment_remember(policy, slot, outcome);
  if (then & PS_THEN_COUNTS)
    policy_talk(slot, then);
  count(slot, p->length);
  return verdict;
}

// The verdict on the packet of the hook's policy number `number`: PS_PASS, PS_DROP, PS_AUDIT or PS_TX, counted in the slot
// that decided.
static __always_inline int policy_judge(struct xdp_md *ctx, struct ps_packet *p, __u32 number)
{
  const volatile struct ps_policy *policy = &policy_const.policy[number];
  const struct policy_decision d = policy_decide(ctx, p, number);
  if ((policy_const.fragments && policy->fragments && p->outer.flags & (PS_FIRST_FRAGMENT | PS_LATER_FRAGMENT)) ||
      (policy_const.rejects && d.verdict == PS_TX) || (policy_const.then & PS_THEN_COUNTS && d.then & PS_THEN_COUNTS))
    return policy_special(ctx, policy->default_slot, d.slot, (d.then & 0xff) << 8 | d.verdict);
  count(d.slot, p->length);
  return d.verdict;
}

// Accept goes on to the next policy, drop ends.  PS_PASS: every policy accepts.
static __always_inline int policy_stage(struct xdp_md *ctx, struct ps_packet *p)
{
  if (policy_const.rule_flags & PS_RULE_SOCKET)
    p->socket = PS_SOCKET_UNKNOWN;
  if (policy_const.asks_again) {
    p->sets[PS_SOURCE].known = p->sets[PS_SOURCE].member = 0;
    p->sets[PS_DESTINATION].known = p->sets[PS_DESTINATION].member = 0;
  }
  int verdict = PS_PASS;
  if (policy_const.count == 1) {  // of one policy the verifier knows all constants
    verdict = trace_leaves_out(0) ? PS_PASS : policy_judge(ctx, p, 0);
    asm volatile("" : "+r"(verdict));
    return verdict == PS_AUDIT ? PS_PASS : verdict;
  }
  for (__u32 i = 0; i < PS_POLICIES_MAX && i < policy_const.count; i++) {
    verdict = trace_leaves_out(i) ? PS_PASS : policy_judge(ctx, p, i);
    asm volatile("" : "+r"(verdict));  // clang-14 threads known verdicts past the test and reads a slot never written
    if (verdict != PS_PASS && verdict != PS_AUDIT)
      return verdict;
    verdict = PS_PASS;
    asm volatile("" : "+r"(verdict));
  }
  return verdict;
}
