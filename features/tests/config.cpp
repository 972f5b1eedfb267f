#include "features/tests/config.h"

#include "features/tests/decode.h"

namespace penstock {
namespace {

Type<std::string> word_type(std::vector<Word> words) {
  std::vector<Choice<std::string>> choices;
  for (Word& word : words) choices.push_back({word.name, std::move(word)});
  return one_of<std::string>(std::move(choices));
}

Type<std::string> reason_type() {
  return word_type({
#define REASON(number, symbol, name, meaning) {name, meaning},
#include "bpf/reasons.def"
#undef REASON
  });
}

Keys<Test> keys() {
  constexpr uint32_t most_times = 1'000'000;
  return Keys<Test>("test", "A packet and what must happen to it.  `check`, `plan` and `apply` run it on the compiled program before anything is attached; a test that fails stops the apply.")
      .required("packet", string_type("packet"), &Test::packet, {"The packet: protocol, source, `>`, destination, then flags.", "\"tcp 192.0.2.7:4000 > 198.51.100.9:22 syn\""})
      .located(&Test::packet_at)
      .required("on", reference_type("interface"), &Test::on, {"The interface that it arrives on.", "wan"})
      .optional("times", number_type(1, most_times), &Test::times, "1", {"How often it is sent; the last one is judged.  Each test begins without anything that packets before it left behind.", "6"})
      .optional("every", duration_type(), &Test::every, "0s", {"The time between one and the next, by the clock that the programs read.", "10ms"})
      .required("expect", word_type({{"pass", "it goes on to the host"}, {"drop", "it is dropped"}, {"redirect", "it leaves by another interface"}, {"tx", "it leaves by the same interface"}, {"aborted", "the program failed"}}),
                &Test::expect, {"The verdict.", "drop"})
      .optional("reason", reason_type(), &Test::reason, {"The reason of the verdict.", "rule"})
      .optional("rule", reference_type("rule"), &Test::rule, {"The rule that decides, as `RULE` or `POLICY/RULE`.", "edge/web"})
      .unbuilt({"wait", "rewritten", "backend"});
}

}  // namespace

Type<std::vector<Test>> tests_type() { return list_of(object_of(keys())); }

}  // namespace penstock
