// What a packet that is rejected is answered with, told from the RFCs.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "app/compile.h"
#include "tests/model/packet.h"

namespace penstock::model {

// RFC 1122 3.2.2, RFC 4443 2.4 (e), RFC 9293 3.10.7.1: not every packet may be answered.
bool answerable(std::span<const uint8_t> frame, const Packet& packet, bool ethernet);

// TCP: a reset.  UDP: port unreachable.  All else: administratively prohibited.
std::vector<uint8_t> answer(std::span<const uint8_t> frame, const Packet& packet, const NodeAddresses& own);

}  // namespace penstock::model
