// Address translation: which ports the host must give up, and what replies are found by.
#include "features/services/nat.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <fmt/format.h>

#include <algorithm>

#include "app/compile.h"

namespace penstock {
namespace {

using Ranges = std::vector<NumberRange>;

TEST(SharedPorts, AreThoseThatTheHostGivesOutItself) {
  EXPECT_EQ(shared_ports({20000, 32767}, "32768\t60999", ""), Ranges{});
  EXPECT_EQ(shared_ports({20000, 40000}, "32768\t60999", ""), (Ranges{{32768, 40000}}));
  EXPECT_EQ(shared_ports({20000, 40000}, "1024 65535", ""), (Ranges{{20000, 40000}}));
  EXPECT_EQ(shared_ports({20000, 40000}, "32768 60999", "20000-40000"), Ranges{});
  EXPECT_EQ(shared_ports({20000, 40000}, "32768 60999", "8080,32768-33000,33005,39999-50000"), (Ranges{{33001, 33004}, {33006, 39998}}));
  EXPECT_EQ(shared_ports({20000, 40000}, "", ""), Ranges{});
}

template <class T>
std::vector<T> entries_of(const Image& image, const std::string& name) {
  const auto found = std::ranges::find(image.tables, name, &TableImage::map);
  if (found == image.tables.end()) return {};
  std::vector<T> out(found->data.size() / sizeof(T));
  std::copy_n(reinterpret_cast<const T*>(found->data.data()), out.size(), out.begin());
  return out;
}

Result<Image> image_of(const std::string& services) {
  TRY_ASSIGN(const Config config, load_config_text("node.yaml", "version: 1\ninterfaces: { wan: { match: eth0 } }\nservices:\n" + services));
  return compile(config);
}

TEST(Reverses, NothingIsMadeWithoutTranslation) {
  const auto image = image_of("  a: { frontend: 198.51.100.1:80/tcp, backends: { a: { address: 10.0.0.1 } } }\n");
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_TRUE(entries_of<ps_reverse>(*image, "service_reverses").empty());
  for (const char* map : {"service_reverses", "service_nats", "service_ports", "service_clients", "service_client_hops", "nat_scratch"}) EXPECT_EQ(image->sizes.at(map), 0u) << map;
  EXPECT_FALSE(image->hooks.front().constants.contains("nat_const"));
}

// Three frontends: one port, all ports, a range; each port of the backend leads to those that lead to it, and to no other.
TEST(Reverses, EachPortLeadsToItsFrontends) {
  const auto image = image_of("  a: { frontend: 198.51.100.1:443/tcp, mode: nat, backends: { a: { address: 10.0.0.1, port: 8443 } } }\n"
                              "  b: { frontend: 198.51.100.2/tcp, mode: nat, backends: { a: { address: 10.0.0.1 } } }\n"
                              "  c: { frontend: 198.51.100.3:8000-9000/tcp, mode: nat, backends: { a: { address: 10.0.0.1 } } }\n");
  ASSERT_TRUE(image) << image.error().message();
  const auto reverses = entries_of<ps_reverse>(*image, "service_reverses");
  const auto ranges = entries_of<ps_service_range>(*image, "service_ranges");
  const auto lines = entries_of<ps_frontend_line>(*image, "service_frontends");
  const auto services_of = [&](uint32_t first) {
    std::string out;
    for (size_t at = first; at < reverses.size(); ++at) {
      out += static_cast<char>('a' + reverses[at].service);
      if (reverses[at].last) break;
    }
    return out;
  };
  const auto lead = [&](uint16_t port) -> std::string {
    for (const ps_frontend_line& line : lines)
      for (const ps_frontend& f : line.entry)
        if (f.used && f.protocol == (IPPROTO_TCP | PS_REVERSE) && f.port == port) return services_of(f.first);
    for (const ps_service_range& r : ranges)
      if (r.protocol == (IPPROTO_TCP | PS_REVERSE) && r.first <= port && port <= r.last) return services_of(r.service);
    return "";
  };
  EXPECT_EQ(lead(1), "b");
  EXPECT_EQ(lead(7999), "b");
  EXPECT_EQ(lead(8000), "bc");
  EXPECT_EQ(lead(8442), "bc");
  EXPECT_EQ(lead(8443), "abc");
  EXPECT_EQ(lead(8444), "bc");
  EXPECT_EQ(lead(9001), "b");
  EXPECT_EQ(lead(65535), "b");
}

TEST(Reverses, TooManyFrontendsOfOnePortAreRefused) {
  std::string services;
  for (int i = 0; i < PS_REVERSES_MAX; ++i) services += fmt::format("  s{}: {{ frontend: 198.51.100.{}:80/tcp, mode: nat, backends: {{ a: {{ address: 10.0.0.1 }} }} }}\n", i, i);
  EXPECT_TRUE(image_of(services));
  const auto image = image_of(services + "  more: { frontend: 198.51.100.200:80/tcp, mode: nat, backends: { a: { address: 10.0.0.1 } } }\n");
  ASSERT_FALSE(image);
  EXPECT_NE(image.error().message().find("65 frontends lead to port 80 of 10.0.0.1"), std::string::npos) << image.error().message();
}

}  // namespace
}  // namespace penstock
