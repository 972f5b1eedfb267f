// The pcap reader on any bytes: no access outside, no endless loop, no allocation that the input did not pay for.
#include "core/net/pcap.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto reader = penstock::PcapReader::from_memory({data, size}, "fuzz");
  if (!reader) return 0;
  penstock::CapturedPacket packet;
  // Every byte is read, so that one outside is seen.
  [[maybe_unused]] volatile uint8_t sink = 0;
  for (;;) {
    const uint64_t before = reader->offset();
    const auto more = reader->next(packet);
    if (!more || !*more) return 0;
    if (reader->offset() <= before || reader->offset() > size || packet.bytes.size() > penstock::PcapReader::max_packet) __builtin_trap();
    for (const uint8_t b : packet.bytes) sink = b;
  }
}
