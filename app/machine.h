// What a file is compiled with that the machine says and not the file, kept with a revision: early in a boot, when programs
// are brought back, interfaces have no addresses yet.
#pragma once
#include <map>
#include <string>

#include "app/compile.h"

namespace penstock {

// "wan v4" -> "192.0.2.1", "wan v6", "wan mtu" -> "9000", and by a backend's address "10.0.1.11 source" -> "10.0.0.1": for
// Revision::machine.
std::map<std::string, std::string> machine_of(const Known& known);

// Puts in what `known` lacks: addresses that interfaces do not have yet, and sources of ways that are not there yet.  The MTU is the kept one.
void recall_machine(const std::map<std::string, std::string>& kept, Known& known);

}  // namespace penstock
