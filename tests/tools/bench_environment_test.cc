// Goal: a load test knows on which machine it is and what it may open, before it loads anything.
// Method: listeners on addresses of this machine; limits of child processes.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <boost/asio.hpp>

#include "tools/bench.h"

namespace waybill::cli {
namespace {

namespace ip = boost::asio::ip;

TEST(BenchEnvironmentTest, AnAddressOfThisMachineIsKnownByTheConnection) {
  boost::asio::io_context io;
  ip::tcp::acceptor listener(io, {ip::tcp::v4(), 0});
  std::string port = std::to_string(listener.local_endpoint().port());
  EXPECT_TRUE(is_on_this_machine("127.0.0.1:" + port));
  EXPECT_TRUE(is_on_this_machine("0177.0.0.1:" + port)) << "another spelling";
  EXPECT_TRUE(is_on_this_machine("0.0.0.0:" + port));
  listener.close();
  EXPECT_FALSE(is_on_this_machine("127.0.0.1:" + port)) << "nobody is there";
}

TEST(BenchEnvironmentTest, ABracketedAddressIsReached) {
  boost::asio::io_context io;
  boost::system::error_code failure;
  ip::tcp::acceptor listener(io);
  listener.open(ip::tcp::v6(), failure);
  if (!failure) listener.bind({ip::address_v6::loopback(), 0}, failure);
  if (failure) GTEST_SKIP() << "no IPv6 here: " << failure.message();
  listener.listen();
  EXPECT_TRUE(is_on_this_machine("[::1]:" + std::to_string(listener.local_endpoint().port())));
}

TEST(BenchEnvironmentTest, SaysWhichMachineItIs) {
  BenchEnvironment found = look_around("", 0);
  EXPECT_GT(found.memory, 0u);
  EXPECT_GT(found.cores, 0u);
  EXPECT_FALSE(found.client_version.empty());
  EXPECT_FALSE(found.broker_file_system.has_value()) << "nobody knows it";
}

/// Ends a child process with 0 if `count` open files are allowed under these limits, else with 1.
[[noreturn]] void end_with(std::uint64_t count, rlim_t soft, rlim_t hard) {
  rlimit limit{soft, hard};
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) ::_exit(2);
  if (!allow_open_files(count)) ::_exit(1);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  ::_exit(limit.rlim_cur >= count ? 0 : 3);
}

TEST(BenchEnvironmentTest, ALimitOfOpenFilesIsRaisedAsFarAsItMayBe) {
  EXPECT_EXIT(end_with(200, 100, 300), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(end_with(301, 100, 300), testing::ExitedWithCode(1), "");
  Bench bench;
  bench.publishers = 500;
  EXPECT_GT(open_files_of(bench), 500u);
}

}  // namespace
}  // namespace waybill::cli
