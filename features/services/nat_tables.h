// Address translation: what the stage needs besides tables.h, one declaration for C and C++.
//
// A packet to a frontend is sent on to its backend's address and port.  The connection's entry in the flow table names the
// backend; for a reply, its source leads to the frontends that it may be an answer of, and the entry of (its destination, such
// a frontend) says whether it is.  So both directions touch one line, and there is no second table to keep in step.
//
// Where the source is translated too, a connection's place in a table of its own is the port that it has on this node: its
// client is found by the port that a reply comes to.
#pragma once
#include "features/services/tables.h"

// Map `service_reverses`: frontends whose packets go to a backend's address and port, those of one together.
struct ps_reverse {
  struct ps_address frontend;
  __u32 service;                // index in `services`
  __u32 backend;                // its id
  __u16 port;                   // of the frontend, host order; 0: that of the backend
  __u8 last;                    // 1: of those of this address and port
  __u8 pad[5];
};
#define PS_REVERSES_MAX 64      // of one address and port

// Map `service_nats`, by backend id.
struct ps_nat {
  __u32 slot[8];                // by enum ps_backend_exit those of replies, then by enum ps_nat_exit
  __u16 port;                   // of the backend, host order; 0: as the frontend's
  __u16 pad[15];
};
enum ps_nat_exit {
  PS_EXIT_NO_PLACE = 5,         // a connection that finds no place, in the flow table or among ports
  PS_EXIT_EXPIRED,              // answered: its time to live is over
  PS_EXIT_EXPIRED_SILENT,       // not answered
};

// Map `service_ports`, state that generations share: lines of struct ps_flow, `lines` of them for each of TCP and UDP over
// IPv4, then over IPv6.  An entry's place in them is its port.  Map `service_clients`, likewise: by entry, whose it is.
struct ps_connection {
  struct ps_address source, destination;  // client, frontend
  __u32 ports;                  // source << 16 | destination
  __u32 protocol;
};
#define PS_PORT_PLANES 4
#define PS_PORT_TRIES 16        // lines that a connection may lie in

// Map `service_client_hops`, by CPU: next hops towards clients, as struct ps_hop, by a hash of the client's address.
struct ps_client_hop {
  struct ps_address address;
  struct ps_hop hop;
};
#define PS_CLIENT_HOPS 4096     // a power of two

// Symbol `nat_const` in .rodata; all zero: nothing is translated.
struct ps_nat_const {
  __u32 on;
  __u32 port_lines;             // in each plane of `service_ports`; 0: no source is translated
  __u32 port_first;             // that of the first place
  __u32 pad;
};
