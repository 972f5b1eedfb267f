// Where the first fragment of a datagram went, for the later ones, which have no ports.
#pragma once
#include "features/services/flows.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, PS_SERVICE_FRAGMENTS);
  __type(key, struct ps_service_fragment_key);
  __type(value, struct ps_service_fragment);
} service_fragments SEC(".maps");

// The protocol is part of what tells datagrams apart in IPv4 only (RFC 791 3.2, RFC 8200 4.5).
static __always_inline void service_fragment_key(const struct ps_datagram *d, struct ps_service_fragment_key *key)
{
  key->address[PS_SOURCE] = d->address[PS_SOURCE];
  key->address[PS_DESTINATION] = d->address[PS_DESTINATION];
  key->id = d->fragment;
  key->protocol = d->flags & PS_IPV4 ? d->protocol : 0;
}

// Of a first fragment to a frontend's address: remembers where it goes; `backend` 0: to no service, so the others pass too.
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

// Of a later one: where its first went, 0 likewise; SERVICE_NONE: that was not seen.
__noinline __u32 service_fragment_first(void)
{
  const struct ps_packet *p = packet_scratch();
  struct ps_service_fragment_key key;
  if (!service_const.on || !p)
    return SERVICE_NONE;
  service_fragment_key(&p->outer, &key);
  const struct ps_service_fragment *first = bpf_map_lookup_elem(&service_fragments, &key);
  return first && clock_now() < first->until ? first->backend : SERVICE_NONE;
}
