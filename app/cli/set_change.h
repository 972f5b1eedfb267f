// What `penstock set add|del|flush` do; app/cli/set.cpp describes them.
#pragma once
#include <string>

#include "app/cli/command.h"
#include "features/sets/elements.h"
#include "features/sets/config.h"

namespace penstock {

Failure set_usage(std::string message, std::string hint = {});

// The set as the revision's own copy of the file says it, and the file's text.
Result<Set> file_part(const Instance& instance, const LiveSet& set, std::string* text = nullptr);

// Both print, and return the exit code.
int change_set(const Invocation& in);
int stream_set(const Invocation& in);  // set add --stream: changes as they come on standard input, until it ends

}  // namespace penstock
