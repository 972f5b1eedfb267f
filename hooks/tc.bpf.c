// The tc ingress of an interface, behind its XDP program: the order of stages and nothing else.
#include "features/syn_proxy/accept.bpf.h"

SEC("tc")
int penstock_tc(struct __sk_buff *skb)
{
  return syn_proxy_accept(skb);
}

const char program_license[] SEC("license") = "GPL";
