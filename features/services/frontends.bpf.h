// Which service a destination belongs to.
#pragma once
#include "bpf/loop.bpf.h"
#include "bpf/state.bpf.h"
#include "features/services/hash.h"
#include "features/services/tables.h"

const volatile struct ps_service_const service_const;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_frontend_line);
} service_frontends SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_service_range);
} service_ranges SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct ps_service);
} services SEC(".maps");

#define SERVICE_NONE 0xffffffffu

static __always_inline int frontend_is(const struct ps_frontend *f, const struct ps_address *a, __u32 protocol, __u32 port)
{
  return f->address.lo == a->lo && f->address.hi == a->hi && f->port == port && f->protocol == protocol && f->used;
}

static __always_inline const struct ps_frontend *frontend_in(__u32 line, const struct ps_address *a, __u32 protocol, __u32 port)
{
  const struct ps_frontend_line *l = bpf_map_lookup_elem(&service_frontends, &line);
  if (!l)
    return 0;
  if (frontend_is(&l->entry[0], a, protocol, port))
    return &l->entry[0];
  return frontend_is(&l->entry[1], a, protocol, port) ? &l->entry[1] : 0;
}

static __always_inline const struct ps_frontend *frontend_find(const struct ps_address *a, __u32 protocol, __u32 port)
{
  const __u64 hash = service_frontend_hash(a, protocol, port);
  const struct ps_frontend *f = frontend_in(hash & service_const.frontend_mask, a, protocol, port);
  return f ? f : frontend_in(hash >> 32 & service_const.frontend_mask, a, protocol, port);
}

// The service of a port among those of an address that come in ranges.
__noinline __u32 service_in_ranges(__u32 first, __u32 count, __u32 protocol, __u32 port)
{
  __u32 turn __attribute__((unused)) = 0;
  if (!service_const.ranges)
    return SERVICE_NONE;
  if (count > PS_RANGES_MAX)
    count = PS_RANGES_MAX;
  for (__u32 i = 0; i < count; i++) {
    LOOP_TURN(turn, PS_RANGES_MAX, out);
    __u32 at = first + i;
    const struct ps_service_range *r = bpf_map_lookup_elem(&service_ranges, &at);
    if (r && r->protocol == protocol && port >= r->first && port <= r->last)
      return r->service;
  }
out:
  return SERVICE_NONE;
}

// Index in `services`, or with PS_REVERSE in `service_reverses`; SERVICE_NONE.
static __always_inline __u32 service_of(const struct ps_address *a, __u32 protocol, __u32 port)
{
  const struct ps_frontend *f = frontend_find(a, protocol, port);
  if (f)
    return f->first;
  if (!service_const.ranges)
    return SERVICE_NONE;
  f = frontend_find(a, protocol & PS_REVERSE, 0);
  return f && f->ranges ? service_in_ranges(f->first, f->ranges, protocol, port) : SERVICE_NONE;
}

// The service, if it is one of this interface.
static __always_inline const struct ps_service *service_here(__u32 index)
{
  const struct ps_service *s = bpf_map_lookup_elem(&services, &index);
  return s && s->on >> (hook_const.interface & 63) & 1 ? s : 0;
}
