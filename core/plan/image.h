// What the compiler makes of a file: programs with their constants, tables, attachments.  Plain data, no system calls.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/net/address.h"
#include "core/plan/slots.h"

namespace penstock {

// The content of one map of the generation, an array of `data.size() / value_size` entries (at least one).
struct TableImage {
  std::string map;         // its name in the object, "policy_rules"
  uint32_t value_size = 0;
  Bytes data;
  std::string structure;   // what `status` says of it: "blocks, 41 MiB"; may be empty
  bool state = false;      // it records what happened, not what the file says: a difference is no change
};

// One program to be attached to the ingress of every device that an interface of the file matches.
struct HookImage {
  std::string interface;              // the file's name, "wan"
  std::vector<std::string> match;     // patterns of device names
  std::string mode;                   // "auto", "native", "generic", "offload"
  std::string object = "xdp";         // which hooks/*.bpf.c
  std::string behind{};               // which hooks/*.bpf.c stands at the tc ingress behind it, "tc"; empty: none
  bool raw = false;                   // for devices whose frames begin with the IP header (tun, wireguard, ppp)
  std::map<std::string, Bytes> constants;  // by symbol in .rodata; absent symbols stay zero
  Location at;
};

// Sets as run-time commands see them.
struct SetImage {
  std::string name;
  uint32_t index = 0;       // in the table `sets`
  bool counters = false;
  std::string structure;    // "blocks, 4.1 MiB" for status
  size_t elements = 0;
  uint32_t number = 0;      // stable: the index of its run-time elements in maps that outlive generations
};

// A backend of a service as programs and run-time commands know it.
struct BackendImage {
  std::string service, backend;
  uint32_t id = 0;          // never 0; not given to another while a kept revision names it
};

// A part of the file as the plan names it ("rule edge/bad", "set badnets"), with a digest of what it says.
struct Part {
  std::string digest;
  Location at;
  std::string text;   // how the plan speaks of it: "drop", "1,000,000 elements"
};

struct Image {
  std::vector<HookImage> hooks;
  std::vector<TableImage> tables;  // the programs of all hooks share them
  std::map<std::string, uint32_t> sizes;  // entries of maps that are no tables, where they have to be made; 0: left out, nothing uses it
  std::vector<SetImage> sets;
  std::map<uint32_t, std::vector<Prefix>> lists;  // nameless sets, by index in the table `sets`: prefixes that rules list
  std::vector<BackendImage> backends;
  std::vector<Slot> slots;         // every exit of these programs, SlotTable::used()
  uint32_t slot_end = 0;
  std::map<std::string, Part> parts;
  std::map<std::string, std::string> structures;  // by policy: what its rules became, for status
};

}  // namespace penstock
