// What the rule sets of iptables, ufw and nft have in common, before any of it is penstock's.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "app/import/ranges.h"

namespace penstock::foreign {

// Fields of a packet, each a number.  Those of `flags` are bytes of TCP flags, of `icmp` type * 256 + code, of `vlan`
// the outer tag or no_vlan, of `fragment` enum Fragment; `device` counts the devices that are imported for.
enum class Field : uint8_t { device, from, to, proto, from_port, to_port, flags, icmp, mac, vlan, dscp, ttl, length, fragment, options, state, socket };
enum Fragment : unsigned { whole, first_fragment, later_fragment };
enum State : unsigned { invalid_state, established_state, related_state, new_state, untracked_state };
constexpr unsigned no_vlan_tag = 4096;
Value most_of(Field field);      // the highest number

// -i eth0, ! -i eth+: names as written, with a trailing `*` for any rest.
struct DeviceMatch {
  std::vector<std::string> names;
  bool negate = false;
};

// A conjunction: each field lies in its ranges.  A field that is not named may be anything.
class Box {
 public:
  const Ranges* find(Field field) const;
  Ranges get(Field field) const;                       // all numbers where it is not named
  void restrict(Field field, const Ranges& ranges);    // as well
  void set(Field field, Ranges ranges);                // in the place of what was there; all numbers: named no more
  const std::vector<std::pair<Field, Ranges>>& fields() const { return fields_; }
  // No packet can lie in it, now or once its sets are filled.
  bool empty() const;
  Box operator&(const Box& other) const;
  // What is left of this without `other`, in pieces that do not overlap.
  std::vector<Box> without(const Box& other) const;
  bool operator==(const Box& other) const { return fields_ == other.fields_; }

  std::vector<DeviceMatch> devices;                    // all of them, until flatten() turns them into Field::device
  std::string from_set, to_set;                        // the named sets that from and to were made of
  bool from_unfilled = false, to_unfilled = false;     // that set is empty, and may be filled later

 private:
  std::vector<std::pair<Field, Ranges>> fields_;       // sorted
};

// Where a rule stands in the original, and how it reads.
struct Place {
  std::string file;
  uint32_t line = 0;        // 0: JSON has no lines that mean something; `text` names the handle then
  std::string text;
  std::string where() const;  // "rules.v4:12" or "rules.json"
};

enum class Verdict { accept, drop, reject, proceed, jump, leave, back };  // leave: goto; back: return
bool drops(Verdict verdict);

// What leaving a line out does to packets that reach it.
enum class Effect { none, drops_more, passes_more, both };

struct Line {
  Place place;
  std::vector<Box> match{Box{}};      // any of them
  Verdict verdict = Verdict::proceed;
  std::string target;                 // of jump and leave: a chain of the same table
  std::string name;                   // what its author called it
  std::string reason, hint;           // why it cannot be said; empty: it can
  std::optional<Effect> effect;       // of leaving it out, where the verdict does not tell
  std::vector<std::string> notes;     // what it did beyond its verdict and is not said
};

enum class Hook { prerouting, input, forward, other };

struct Chain {
  std::string family, table, name;    // family: ip, ip6 or inet
  std::optional<Hook> hook;           // of a base chain
  int priority = 0;
  Verdict policy = Verdict::accept;
  Place place;
  std::vector<Line> lines;
};

struct NamedSet {
  std::string name;
  Ranges addresses;
  bool used = false;                  // by a rule of the new file
};

// A line that has no place among the rules: of another table, of a chain that nobody asked for.
struct Aside {
  Place place;
  std::string reason, hint;
  bool counts = false;                // it changes what becomes of a packet that comes in
};

struct Ruleset {
  std::vector<Chain> chains;
  std::vector<NamedSet> sets;
  std::vector<Aside> asides;
  std::vector<std::string> notes;     // of the whole

  Chain* find(const std::string& family, const std::string& table, const std::string& name);
};

}  // namespace penstock::foreign
