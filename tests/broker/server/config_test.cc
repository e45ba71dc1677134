// Goal: what an operator types is understood or refused with a sentence that helps.
// Method: pure functions over texts; nothing is opened.
#include "broker/server/config.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "broker/server/users.h"

namespace waybill {
namespace {

Config with_data() {
  Config config;
  config.data_directory = "/somewhere";
  return config;
}

TEST(Config, ListenAddressesAreIpAndPort) {
  EXPECT_EQ(parse_listen_address("127.0.0.1:7450").value(), (ListenAddress{"127.0.0.1", 7450}));
  EXPECT_EQ(parse_listen_address("[::1]:0").value(), (ListenAddress{"::1", 0}));
  EXPECT_EQ(to_string(ListenAddress{"::1", 80}), "[::1]:80");
  for (const char* bad :
       {"", "7450", "localhost:7450", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:-1",
        "::1:80", "[127.0.0.1]:80x", "1.2.3:5"}) {
    EXPECT_FALSE(parse_listen_address(bad).ok()) << bad;
  }
}

TEST(Config, SizesHaveBinaryUnits) {
  EXPECT_EQ(parse_size("65536").value(), 65536u);
  EXPECT_EQ(parse_size("256KiB").value(), 256u * 1024);
  EXPECT_EQ(parse_size("64MiB").value(), 64u * 1024 * 1024);
  EXPECT_EQ(parse_size("2GiB").value(), 2ull * 1024 * 1024 * 1024);
  for (const char* bad : {"", "MiB", "64MB", "64 MiB", "-1", "99999999999GiB"}) {
    EXPECT_FALSE(parse_size(bad).ok()) << bad;
  }
}

TEST(Config, AnythingButLoopbackIsRefusedUnlessSaidSo) {
  Config config = with_data();
  EXPECT_TRUE(validate(config).ok());
  for (const char* host : {"0.0.0.0", "192.168.1.5", "::", "fe80::1"}) {
    config.listen = {host, 7450};
    Reply<void> refused = validate(config);
    ASSERT_FALSE(refused.ok()) << host;
    EXPECT_NE(refused.error().explanation.find("--allow-unauthenticated"), std::string::npos);
    EXPECT_NE(refused.error().explanation.find("--listen"), std::string::npos);
  }
  config.allow_unauthenticated = true;
  EXPECT_TRUE(validate(config).ok());
  config = with_data();
  config.listen.host = "127.8.9.1";
  EXPECT_TRUE(validate(config).ok());
}

TEST(Config, UsersLetOthersConnectOnlyWhereTokensInClearTextAreAllowed) {
  Config config = with_data();
  config.users = std::make_shared<const Users>();
  EXPECT_TRUE(validate(config).ok());
  config.listen.host = "0.0.0.0";
  for (bool unauthenticated : {false, true}) {
    config.allow_unauthenticated = unauthenticated;
    Reply<void> refused = validate(config);
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(refused.error().explanation.find("--allow-cleartext"), std::string::npos);
    EXPECT_NE(refused.error().explanation.find("tokens"), std::string::npos);
  }
  config.allow_cleartext = true;
  EXPECT_TRUE(validate(config).ok());
  config.users = nullptr;
  config.allow_unauthenticated = false;
  EXPECT_FALSE(validate(config).ok()) << "it is no word about having no users";
}

TEST(Config, UsersDoNotProtectHttp) {
  Config config = with_data();
  config.users = std::make_shared<const Users>();
  config.allow_cleartext = true;
  config.http = ListenAddress{"0.0.0.0", 7451};
  Reply<void> refused = validate(config);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().explanation.find("--http"), std::string::npos);
  EXPECT_NE(refused.error().explanation.find("--allow-unauthenticated"), std::string::npos);
}

TEST(Config, TheHttpPortIsHeldToTheSameRule) {
  Config config = with_data();
  config.http = ListenAddress{"0.0.0.0", 7451};
  Reply<void> refused = validate(config);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().explanation.find("--http"), std::string::npos);
}

TEST(Config, ShardsAndJournalFilesHaveBounds) {
  Config config = with_data();
  config.shards = 65;
  EXPECT_FALSE(validate(config).ok());
  config.shards = 64;
  EXPECT_TRUE(validate(config).ok());
  config.journal_file_size = 100'000;
  EXPECT_FALSE(validate(config).ok());
  config.journal_file_size = limits::kMaxJournalFrame;
  Reply<void> small = validate(config);
  ASSERT_FALSE(small.ok()) << "the largest change and the file's header do not fit";
  EXPECT_TRUE(small.error().explanation.contains("at least 8392704")) << small.error().explanation;
  config.journal_file_size = limits::kMaxJournalFrame + limits::kBlock;
  EXPECT_TRUE(validate(config).ok());
  EXPECT_FALSE(validate(Config{}).ok()) << "no data directory";
}

TEST(Config, S24TheDefaultShardCountFollowsTheCpuQuota) {
  EXPECT_EQ(cpu_quota("max 100000"), std::nullopt);
  EXPECT_EQ(cpu_quota("200000 100000"), 2);
  EXPECT_EQ(cpu_quota("150000 100000"), 2) << "part of a CPU counts as one";
  EXPECT_EQ(cpu_quota("5000 100000"), 1);
  EXPECT_EQ(cpu_quota(""), std::nullopt);
  EXPECT_EQ(cpu_quota("1 0"), std::nullopt);
  EXPECT_GE(default_shard_count(), 1);
  EXPECT_LE(default_shard_count(), 8);
  EXPECT_GE(default_memory(), std::uint64_t{64} << 20);
  EXPECT_LE(default_memory(), std::uint64_t{1} << 30);
}

TEST(Config, S21TheFreeSpaceThatIsKeptFitsTheDisk) {
  Config config;
  config.data_directory = std::filesystem::temp_directory_path();
  const std::uint64_t tenth = std::filesystem::space(config.data_directory).capacity / 10;
  config.journal_file_size = limits::kBlock;
  EXPECT_EQ(default_min_free(config, 3), std::min<std::uint64_t>(6 * limits::kBlock, tenth));
  config.journal_file_size = std::size_t{1} << 60;
  EXPECT_EQ(default_min_free(config, 1), tenth);
}

}  // namespace
}  // namespace waybill
