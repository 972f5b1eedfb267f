// The generator's program.  It runs on recycled live frames, which keep what the last receiver wrote into them, so
// it writes the whole header each time; then it sends the frame out of a device, drops it (the generator's own cost)
// or hands it to the program under test.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "lab/flood.h"

const volatile __u32 out_ifindex;     // 0: drop here
const volatile __u32 under_test;      // 1: tail-call the program in `next`
const volatile __u32 header_words;    // words of eight bytes that the longest header takes
const volatile __u32 interval_ns;     // 0: full speed
const volatile __u32 listed_below;    // of 65536 frames, the first so many have a listed source ...
const volatile __u32 unlisted_below;  // ... and those up to here a spoofed one; the rest are malformed
const volatile __u32 count4, count6;  // listed sources of each family
const volatile __u32 unlisted6_below; // of 65536 unlisted frames, so many are IPv6
const volatile struct flood_source4 spoofed4;
const volatile struct flood_source6 spoofed6;
const volatile struct flood_frame frames[FLOOD_CLASSES][2];

struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct flood_source4); } sources4 SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct flood_source6); } sources6 SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct flood_state); } state SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u32); } next SEC(".maps");

static long wait_until(__u32 i, __u64 *due)
{
	(void)i;
	return bpf_ktime_get_ns() >= *due;
}

// Spins until the frame is due.  A program cannot sleep, and calls of a few frames cost milliseconds each.
static __always_inline void pace(struct flood_state *s)
{
	__u64 now = bpf_ktime_get_ns(), due;

	if (s->due + 1000000 < now)  // the first one, or preempted: do not make up for it with a burst
		s->due = now;
	due = s->due;
	bpf_loop(1 << 20, wait_until, &due, 0);
	s->due += interval_ns;
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline __u32 halves(__u32 word) { return (word & 0xffff) + (word >> 16); }

// SplitMix64 (Steele, Lea, Flood 2014): the kernel's own random number costs 20 ns.
static __always_inline __u64 splitmix(__u64 *seed)
{
	__u64 z = *seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

// A spoofed IPv4 source that a router would carry: neither 0/8, 127/8 nor multicast.
static __always_inline __be32 routable(__be32 addr)
{
	__u8 first = addr & 0xff;

	if (first == 0 || first == 127 || first >= 224)
		addr = (addr & bpf_htonl(0x00ffffff)) | 0xc0 | (first & 0x1f);  // 192 to 223
	return addr;
}

SEC("xdp")
int flood(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, kind, v6, sum, l4;
	struct flood_state *s = bpf_map_lookup_elem(&state, &zero);
	__u32 draw, other, spread, share;
	struct flood_source6 src6 = {};
	__u64 random;
	__u16 port;
	__be32 src4 = 0;

	if (!s)
		return XDP_ABORTED;
	random = splitmix(&s->seed);
	draw = random;
	other = random >> 32;
	spread = draw * 2654435761u;
	share = other >> 16;
	port = other | bpf_htons(0x8000);
	if (share < listed_below) {
		__u32 index = (__u64)draw * (count4 + count6) >> 32;

		kind = FLOOD_LISTED;
		v6 = index >= count4;
		if (v6) {
			struct flood_source6 *from;

			index -= count4;
			from = bpf_map_lookup_elem(&sources6, &index);
			if (!from)
				return XDP_ABORTED;
			src6 = *from;
		} else {
			struct flood_source4 *from = bpf_map_lookup_elem(&sources4, &index);

			if (!from)
				return XDP_ABORTED;
			src4 = from->addr | (spread & from->host);
		}
	} else {
		kind = share < unlisted_below ? FLOOD_UNLISTED : FLOOD_MALFORMED;
		v6 = (spread >> 16) < unlisted6_below;
		if (v6)
			for (int i = 0; i < 4; i++) {
				src6.addr[i] = spoofed6.addr[i];
				src6.host[i] = spoofed6.host[i];
			}
		else
			src4 = spoofed4.addr | (draw & spoofed4.host);
		if (!v6 && spoofed4.host == 0xffffffff)
			src4 = routable(src4);
	}
	if (interval_ns)
		pace(s);

	const volatile struct flood_frame *frame = &frames[kind][v6 & 1];
	const volatile __u64 *from = (const volatile __u64 *)frame->header;

	if (data + header_words * 8 > end || header_words > FLOOD_HEADER / 8)
		return XDP_ABORTED;
#pragma unroll
	for (__u32 i = 0; i < FLOOD_HEADER / 8; i++)
		if (i < header_words && data + i * 8 + 8 <= end)
			((__u64 *)data)[i] = from[i];

	l4 = frame->l4_sum + port;
	if (v6) {
		if (data + ETH_HLEN + 40 + 18 > end)
			return XDP_ABORTED;
		__be32 *to = data + ETH_HLEN + 8;

		for (int i = 0; i < 4; i++) {
			__be32 word = src6.addr[i] | ((spread * (2 * i + 1) ^ other << i) & src6.host[i]);

			l4 += halves(word);
			to[i] = word;
		}
		*(__u16 *)(data + ETH_HLEN + 40) = port;
		if (frame->tcp)
			*(__u16 *)(data + ETH_HLEN + 40 + 16) = fold(l4);
		else
			*(__u16 *)(data + ETH_HLEN + 40 + 6) = fold(l4) ?: 0xffff;
	} else {
		if (data + ETH_HLEN + 20 + 18 > end)
			return XDP_ABORTED;
		sum = frame->ip_sum + halves(src4);
		l4 += halves(src4);
		*(__be32 *)(data + ETH_HLEN + 12) = src4;
		*(__u16 *)(data + ETH_HLEN + 10) = fold(sum);
		*(__u16 *)(data + ETH_HLEN + 20) = port;
		if (frame->tcp)
			*(__u16 *)(data + ETH_HLEN + 20 + 16) = fold(l4);
		else
			*(__u16 *)(data + ETH_HLEN + 20 + 6) = fold(l4) ?: 0xffff;
	}
	s->sent[kind]++;
	if (under_test) {
		bpf_tail_call(ctx, &next, 0);
		return XDP_ABORTED;
	}
	return out_ifindex ? bpf_redirect(out_ifindex, 0) : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
