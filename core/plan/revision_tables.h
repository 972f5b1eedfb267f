// The two long lists of a revision, slots and parts, as lines of fields: ten thousand rules are read in milliseconds.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/plan/image.h"

namespace penstock {

std::string slots_text(const std::vector<Slot>& slots);
std::string parts_text(const std::map<std::string, Part>& parts);

// False: the text is damaged.
bool read_slots(std::string_view text, std::vector<Slot>& out);
bool read_parts(std::string_view text, std::map<std::string, Part>& out);
// Only slots whose number `wanted` says yes to, without their place in the file.
bool read_slots(std::string_view text, const std::function<bool(uint32_t)>& wanted, std::vector<Slot>& out);

}  // namespace penstock
