// Where the first fragment of a datagram went, for the later ones, which have no ports.
#pragma once
#include "features/services/flows.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, PS_SERVICE_FRAGMENTS);
  __type(key, struct ps_service_fragment_key);
  __type(value, struct ps_service_fragment);
} service_fragments SEC(".maps");

static __always_inline void service_fragment_key(const struct ps_datagram *d, struct ps_service_fragment_key *key)
{
  key->address[PS_SOURCE] = d->address[PS_SOURCE];
  key->address[PS_DESTINATION] = d->address[PS_DESTINATION];
  key->id = d->fragment;
  key->protocol = d->protocol;
}

// Of a first fragment: remembers where it goes.  (IPv6 headers of later fragments name the same protocol in front of others.)
__noinline int service_fragment_remember(__u32 backend)
{
  const struct ps_packet *p = packet_scratch();
  struct ps_service_fragment_key key;
  if (!service_const.on || !p || !writes())
    return 0;
  const struct ps_service_fragment first = {.until = clock_now() + PS_SERVICE_FRAGMENT_LIFE, .backend = backend};
  service_fragment_key(&p->outer, &key);
  return bpf_map_update_elem(&service_fragments, &key, &first, BPF_ANY);
}

// Of a later one: where its first went; 0: that was not seen.
__noinline __u32 service_fragment_first(void)
{
  const struct ps_packet *p = packet_scratch();
  struct ps_service_fragment_key key;
  if (!service_const.on || !p)
    return 0;
  service_fragment_key(&p->outer, &key);
  const struct ps_service_fragment *first = bpf_map_lookup_elem(&service_fragments, &key);
  return first && clock_now() < first->until ? first->backend : 0;
}
