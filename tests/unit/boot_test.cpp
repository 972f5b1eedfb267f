// What a boot goes by: revisions on disk, bans that were written down, what was taken from the machine.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "app/machine.h"
#include "core/plan/revisions.h"
#include "features/limits/saved_bans.h"

namespace penstock {
namespace {

namespace fs = std::filesystem;

class Boot : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/penstock-boot-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    instance_.state = folder_ + "/state";
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string text(const std::string& path) const {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& path, const std::string& text) const { std::ofstream(path) << text; }

  std::string folder_;
  Instance instance_;
};

TEST_F(Boot, SavedBansComeBack) {
  const std::string path = bans_path(instance_);
  EXPECT_TRUE(read_bans(path)->empty());
  const std::vector<SavedBan> bans{{"edge/ssh", {Address::v4(0xc0000207), 128}, 1'800'000'000'123, 3},
                                   {"edge/ssh", {Address{0x20010db800010000, 0}, 64}, 1'700'000'000'000, 4095},
                                   {"edge.2/web_1", {Address::v4(0x0a000000), 104}, 1, 1}};
  ASSERT_TRUE(write_bans(path, bans));
  EXPECT_EQ(text(path),
            "penstock-bans 1\nedge/ssh 192.0.2.7 1800000000123 3\nedge/ssh 2001:db8:1::/64 1700000000000 4095\nedge.2/web_1 10.0.0.0/8 1 1\n");
  EXPECT_EQ(*read_bans(path), bans);
  ASSERT_TRUE(write_bans(path, {}));
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(Boot, DamagedBansAreNamed) {
  fs::create_directories(instance_.state);
  const std::string path = bans_path(instance_);
  for (const auto& [damaged, line] : std::vector<std::pair<std::string, uint32_t>>{
           {"penstock-bans 2\n", 1}, {"penstock-bans 1\nedge/ssh 192.0.2.7 1 1", 2}, {"penstock-bans 1\nedge/ssh 192.0.2.7 1 1\nedge/ssh 192.0.2.777 1 1\n", 3},
           {"penstock-bans 1\nedge/ssh 192.0.2.7 1\n", 2}, {"penstock-bans 1\nedge/ssh 192.0.2.7 1 1 1\n", 2}, {"penstock-bans 1\n\n", 2}}) {
    write(path, damaged);
    const auto read = read_bans(path);
    ASSERT_FALSE(read) << damaged;
    EXPECT_EQ(read.error().diagnostics.front().at.line, line) << damaged;
  }
}

TEST_F(Boot, RevisionIsExchangedWhole) {
  const Revisions revisions(instance_);
  const std::string listed = folder_ + "/listed.txt";
  write(listed, "192.0.2.0/24\n");
  Revision revision;
  revision.number = revision.generation = 7;
  revision.user = "first";
  revision.machine = {{"wan v4", "192.0.2.1"}};
  ASSERT_TRUE(revisions.save(revision, "one", {{"bad", listed}}));
  ASSERT_TRUE(revisions.set_status(7, RevisionStatus::confirmed));
  EXPECT_EQ(revisions.head(7)->machine, revision.machine);
  // As a boot does it: from its own copies, with the status that it has.
  revision.user = "second";
  revision.status = RevisionStatus::confirmed;
  ASSERT_TRUE(revisions.save(revision, "two", {{"bad", revisions.set_file(7, "bad")}}));
  const auto head = revisions.head(7);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->user, "second");
  EXPECT_EQ(head->status, RevisionStatus::confirmed);
  EXPECT_EQ(text(revisions.file(7)), "two");
  EXPECT_EQ(text(revisions.set_file(7, "bad")), "192.0.2.0/24\n");
  EXPECT_EQ(revisions.numbers(), std::vector<uint64_t>{7});
  EXPECT_FALSE(fs::exists(revisions.directory(7) + ".new"));
}

TEST_F(Boot, StatusIsReadWhereTheRestIsDamaged) {
  const Revisions revisions(instance_);
  EXPECT_EQ(revisions.status(3), RevisionStatus::candidate);
  Revision revision;
  revision.number = 3;
  ASSERT_TRUE(revisions.save(revision, "", {}));
  EXPECT_EQ(revisions.status(3), RevisionStatus::candidate);
  for (const auto status : {RevisionStatus::confirmed, RevisionStatus::reverted, RevisionStatus::confirmed}) {
    ASSERT_TRUE(revisions.set_status(3, status));
    EXPECT_EQ(revisions.status(3), status);
    EXPECT_EQ(text(revisions.directory(3) + "/status"), status_name(status));
  }
  write(revisions.directory(3) + "/meta.json", "{");
  EXPECT_FALSE(revisions.head(3));
  EXPECT_EQ(revisions.status(3), RevisionStatus::confirmed);
}

TEST_F(Boot, MachineFillsInWhatIsNotThereYet) {
  Known then;
  then.addresses["wan"] = {Address::v4(0xc0000201), Address{0x20010db800000000, 1}};
  then.addresses["lan"] = {Address::v4(0x0a000001), {}};
  then.mtu["wan"] = 9000;
  then.services.sources[Address::v4(0x0a00010b)] = Address::v4(0x0a000001);
  const auto kept = machine_of(then);
  Known now;
  now.addresses["lan"] = {Address::v4(0x0a000002), {}};
  now.mtu["wan"] = 1500;
  recall_machine(kept, now);
  EXPECT_EQ(now.addresses["wan"].v4, then.addresses["wan"].v4);
  EXPECT_EQ(now.addresses["wan"].v6, then.addresses["wan"].v6);
  EXPECT_EQ(now.addresses["lan"].v4, Address::v4(0x0a000002));  // it has one now
  EXPECT_FALSE(now.addresses["lan"].v6);
  EXPECT_EQ(now.mtu["wan"], 9000u);
  EXPECT_EQ(now.services.sources, then.services.sources);
  recall_machine({{"wan v4", "x"}, {"wan mtu", "-1"}, {"odd", "1"}, {"eth v6", "2001:db8::9"}}, now);
  EXPECT_EQ(now.mtu["wan"], 9000u);
  EXPECT_EQ(now.addresses["eth"].v6, (Address{0x20010db800000000, 9}));
}

}  // namespace
}  // namespace penstock
