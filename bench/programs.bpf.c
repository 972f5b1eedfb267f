// The bench's programs: the bare empty drop, the wrapper that varies addresses, and what the node is compared
// with: the least that can be built around the kernel's LPM trie.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "features/sets/lookup.bpf.h"

char _license[] SEC("license") = "GPL";

SEC("xdp.frags")
int empty(struct xdp_md *ctx __attribute__((unused)))
{
    return XDP_DROP;
}

// The wrapper: writes the next source address of its table into the packet and tail-calls the target.
struct address {
    __u64 word[2];                      // as in the packet; IPv4 uses the first four bytes
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct address);
} addresses6 SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} addresses4 SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} target SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} next SEC(".maps");                    // low half: the next address; high half: how many there are

static __always_inline __u32 take_next(void)
{
    __u32 zero = 0;
    __u64 *state = bpf_map_lookup_elem(&next, &zero);
    if (!state)
        return 0;
    const __u64 now = *state;
    const __u32 at = now;
    *state = at + 1 < now >> 32 ? now + 1 : now >> 32 << 32;
    return at;
}

SEC("xdp.frags")
int wrapper4(struct xdp_md *ctx)
{
    __u32 at = take_next();
    const __u64 *address = bpf_map_lookup_elem(&addresses4, &at);
    void *source = (void *)(long)ctx->data + sizeof(struct ethhdr) + 12;
    if (address && source + 4 <= (void *)(long)ctx->data_end) {
        __builtin_memcpy(source, address, 4);
        bpf_tail_call(ctx, &target, 0);
    }
    return XDP_ABORTED;
}

SEC("xdp.frags")
int wrapper6(struct xdp_md *ctx)
{
    __u32 at = take_next();
    const struct address *address = bpf_map_lookup_elem(&addresses6, &at);
    void *source = (void *)(long)ctx->data + sizeof(struct ethhdr) + 8;
    if (address && source + 16 <= (void *)(long)ctx->data_end) {
        __builtin_memcpy(source, address, 16);
        bpf_tail_call(ctx, &target, 0);
    }
    return XDP_ABORTED;
}

// For programs that change the packet: its length and its first bytes are what they were.
struct original {
    __u64 length;
    __u64 word[8];
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct original);
} original SEC(".maps");

// Puts the packet back as it was, where the map says how.  Returns 0 when done.
static __always_inline int restore(struct xdp_md *ctx)
{
    __u32 zero = 0;
    const struct original *whole = bpf_map_lookup_elem(&original, &zero);
    if (!whole || !whole->length)
        return 0;
    const int missing = whole->length - (ctx->data_end - ctx->data);
    if (missing && bpf_xdp_adjust_head(ctx, -missing))
        return -1;
    __u64 *to = (void *)(long)ctx->data;
    if ((void *)(to + 8) > (void *)(long)ctx->data_end)
        return -1;
    for (int i = 0; i < 8; i++)
        to[i] = whole->word[i];
    return 0;
}

SEC("xdp.frags")
int restoring_wrapper(struct xdp_md *ctx)
{
    if (!restore(ctx))
        bpf_tail_call(ctx, &target, 0);
    return XDP_ABORTED;
}

// The same for all that rules ask: addresses, ports and protocol.
struct flow4 {
    __be32 address[2];
    __be16 port[2];
    __u32 protocol;
};
struct flow6 {
    __be64 address[4];
    __be16 port[2];
    __u32 protocol;
    __u64 pad;
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct flow4);
} flows4 SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct flow6);
} flows6 SEC(".maps");

SEC("xdp.frags")
int flow_wrapper4(struct xdp_md *ctx)
{
    __u32 at = take_next();
    if (restore(ctx))
        return XDP_ABORTED;
    const struct flow4 *flow = bpf_map_lookup_elem(&flows4, &at);
    void *ip = (void *)(long)ctx->data + sizeof(struct ethhdr);
    if (flow && ip + sizeof(struct iphdr) + 4 <= (void *)(long)ctx->data_end) {
        *((__u8 *)ip + 9) = flow->protocol;
        __builtin_memcpy(ip + 12, flow, 12);
        bpf_tail_call(ctx, &target, 0);
    }
    return XDP_ABORTED;
}

SEC("xdp.frags")
int flow_wrapper6(struct xdp_md *ctx)
{
    __u32 at = take_next();
    if (restore(ctx))
        return XDP_ABORTED;
    const struct flow6 *flow = bpf_map_lookup_elem(&flows6, &at);
    void *ip = (void *)(long)ctx->data + sizeof(struct ethhdr);
    if (flow && ip + sizeof(struct ipv6hdr) + 4 <= (void *)(long)ctx->data_end) {
        *((__u8 *)ip + 6) = flow->protocol;
        __builtin_memcpy(ip + 8, flow, 36);
        bpf_tail_call(ctx, &target, 0);
    }
    return XDP_ABORTED;
}

// Around a lookup: parse, decide, count packets and bytes per CPU and verdict.  It is less than the node does (no
// transport header, no check of lengths, no list of rules), so the comparison favours the peer.
struct counter {
    __u64 packets, bytes;
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 2048);
    __type(key, __u32);
    __type(value, struct counter);
} counters SEC(".maps");

struct source {
    __u32 ipv6;
    __u64 hi, lo;
};

static __always_inline int parse(struct xdp_md *ctx, struct source *source)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    const struct ethhdr *ethernet = data;
    if ((void *)(ethernet + 1) > end)
        return 0;
    if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
        const struct iphdr *ip = (void *)(ethernet + 1);
        if ((void *)(ip + 1) > end)
            return 0;
        source->ipv6 = 0;
        source->hi = (__u64)bpf_ntohl(ip->saddr) << 32;
        source->lo = 0;
        return 1;
    }
    if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
        const struct ipv6hdr *ip = (void *)(ethernet + 1);
        if ((void *)(ip + 1) > end)
            return 0;
        const __be32 *word = ip->saddr.in6_u.u6_addr32;
        source->ipv6 = 1;
        source->hi = (__u64)bpf_ntohl(word[0]) << 32 | bpf_ntohl(word[1]);
        source->lo = (__u64)bpf_ntohl(word[2]) << 32 | bpf_ntohl(word[3]);
        return 1;
    }
    return 0;
}

static __always_inline int judge(struct xdp_md *ctx, __u32 found)
{
    __u32 at = bpf_get_smp_processor_id() * 2 + (found != 0);
    struct counter *counter = bpf_map_lookup_elem(&counters, &at);
    if (counter) {
        counter->packets++;
        counter->bytes += ctx->data_end - ctx->data;
    }
    return found ? XDP_DROP : XDP_PASS;
}

// Run-time elements only, at the coarse clock.
SEC("xdp.frags")
int set_extras(struct xdp_md *ctx)
{
    struct source source;
    __u32 zero = 0;
    const struct set_table *set = bpf_map_lookup_elem(&sets, &zero);
    if (!set || !parse(ctx, &source))
        return judge(ctx, 0);
    return judge(ctx, set_extra_lookup(set, source.ipv6, source.hi, source.lo, bpf_ktime_get_coarse_ns()));
}

// A limiter per source on the kernel's LRU hash, without a lock, on the coarse clock: 100 packets in a second, ten at once.
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} lru_buckets SEC(".maps");

SEC("xdp.frags")
int lru_limit(struct xdp_md *ctx)
{
    const __u64 each = 10000000, burst = 10, now = bpf_ktime_get_coarse_ns();
    struct source source;
    if (!parse(ctx, &source))
        return judge(ctx, 0);
    __u32 key = source.hi >> 32;
    __u64 *word = bpf_map_lookup_elem(&lru_buckets, &key);
    if (!word) {
        const __u64 first = now + each;
        bpf_map_update_elem(&lru_buckets, &key, &first, BPF_ANY);
        return judge(ctx, 0);
    }
    const __u64 due = (*word > now ? *word : now) + each;
    if (due - now > burst * each)
        return judge(ctx, 1);
    *word = due;
    return judge(ctx, 0);
}

struct lpm4_key {
    __u32 length;
    __be32 address;
};
struct lpm6_key {
    __u32 length;
    __be64 hi, lo;
} __attribute__((packed));
struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1);
    __type(key, struct lpm4_key);
    __type(value, __u32);
} lpm4 SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1);
    __type(key, struct lpm6_key);
    __type(value, __u32);
} lpm6 SEC(".maps");

SEC("xdp.frags")
int trie4(struct xdp_md *ctx)
{
    struct source source;
    if (!parse(ctx, &source))
        return judge(ctx, 0);
    struct lpm4_key key = {32, bpf_htonl(source.hi >> 32)};
    return judge(ctx, bpf_map_lookup_elem(&lpm4, &key) != 0);
}

SEC("xdp.frags")
int trie6(struct xdp_md *ctx)
{
    struct source source;
    if (!parse(ctx, &source))
        return judge(ctx, 0);
    struct lpm6_key key = {128, bpf_cpu_to_be64(source.hi), bpf_cpu_to_be64(source.lo)};
    return judge(ctx, bpf_map_lookup_elem(&lpm6, &key) != 0);
}
