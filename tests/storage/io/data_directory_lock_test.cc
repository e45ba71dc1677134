// Goal: never two processes in one data directory, also not while a dead one's writes still land
// (S6). Method: a second process holds the lock and is let go or killed by the test; engines keep
// the descriptor after the lock object is gone.
#include "storage/io/data_directory_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>

#include "storage/io/disk_engine.h"
#include "tests/storage/io/test_directory.h"

namespace waybill {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// Runs `child` in another process, which tells the parent when it is ready by `ready()`.
template <class Child>
class OtherProcess {
 public:
  explicit OtherProcess(Child child) {
    EXPECT_EQ(::pipe(pipe_.data()), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      child([this] { [[maybe_unused]] ssize_t put = ::write(pipe_[1], "r", 1); });
      ::_exit(0);
    }
    ::close(pipe_[1]);
    char byte = 0;
    EXPECT_EQ(::read(pipe_[0], &byte, 1), 1) << "the other process ended early";
  }
  ~OtherProcess() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::close(pipe_[0]);
  }
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;
  [[nodiscard]] pid_t pid() const { return pid_; }
  void kill() { ::kill(pid_, SIGKILL); }

 private:
  std::array<int, 2> pipe_{};
  pid_t pid_ = 0;
};

TEST(DataDirectoryLockTest, S6ASecondProcessIsRefusedAndToldWhoHoldsTheDirectory) {
  TestDirectory directory;
  OtherProcess other([&](auto ready) {
    auto lock = DataDirectoryLock::acquire(directory.path(), nullptr);
    if (lock) ready();
    ::pause();
  });
  std::string explanation;
  auto lock = DataDirectoryLock::acquire(directory.path(), &explanation, 50ms);
  ASSERT_FALSE(lock);
  EXPECT_EQ(lock.error(), Errc::kLocked);
  EXPECT_THAT(explanation, HasSubstr("process " + std::to_string(other.pid())));
  EXPECT_THAT(explanation, HasSubstr(directory.path()));
}

TEST(DataDirectoryLockTest, S6ARetrySucceedsWhenTheFirstProcessEnds) {
  TestDirectory directory;
  OtherProcess other([&](auto ready) {
    auto lock = DataDirectoryLock::acquire(directory.path(), nullptr);
    if (lock) ready();
    ::pause();
  });
  ASSERT_FALSE(DataDirectoryLock::acquire(directory.path(), nullptr, 0ms));
  other.kill();
  std::string explanation;
  auto lock = DataDirectoryLock::acquire(directory.path(), &explanation, 5s);
  EXPECT_TRUE(lock) << explanation;
  int pid = 0;
  std::ifstream(directory.path() + "/lock") >> pid;
  EXPECT_EQ(pid, ::getpid());
}

TEST(DataDirectoryLockTest, AMissingDirectoryIsNotFound) {
  EXPECT_EQ(DataDirectoryLock::acquire("/nonexistent/data", nullptr, 0ms).error(), Errc::kNotFound);
}

class EngineHoldsLock : public testing::TestWithParam<DiskEngine> {};

TEST_P(EngineHoldsLock, S6UntilTheDiskIsGone) {
  TestDirectory directory;
  std::string why;
  auto lock = std::make_unique<DataDirectoryLock>(
      std::move(*DataDirectoryLock::acquire(directory.path(), nullptr)));
  auto disk = open_disk(directory.path(), GetParam(), &why, {.lock_fd = lock->fd()});
  if (!disk && GetParam() == DiskEngine::kUring) GTEST_SKIP() << why;
  ASSERT_TRUE(disk);
  lock.reset();
  EXPECT_FALSE(DataDirectoryLock::acquire(directory.path(), nullptr, 0ms));
  disk->reset();
  EXPECT_TRUE(DataDirectoryLock::acquire(directory.path(), nullptr, 5s));
}

/// Writes block after block, each full of its round's number, until it is killed.
[[noreturn]] void write_until_killed(const std::string& directory, DiskEngine engine,
                                     const std::function<void()>& ready) {
  auto lock = DataDirectoryLock::acquire(directory, nullptr);
  auto disk = open_disk(directory, engine, nullptr, {.lock_fd = lock->fd()});
  if (!disk) ::_exit(1);
  auto file = (*disk)->open("data", OpenMode::kCreate);
  AlignedBlocks blocks(256);
  for (unsigned round = 1;; ++round) {
    for (std::size_t i = 0; i < 8; ++i) {
      (*disk)->write(*file, i * blocks.view().size(), blocks.view(), Durability::kDurable,
                     [](Result<std::size_t>) {});
    }
    (*disk)->submit();
    if (round == 3) ready();
    while ((*disk)->pending() > 0) (*disk)->wait();
    std::memset(blocks.bytes().data(), static_cast<int>(round), blocks.view().size());
  }
}

TEST_P(EngineHoldsLock, S6NothingChangesAfterTheNextProcessHasTheLock) {
  std::string why;
  TestDirectory probe;
  if (!open_disk(probe.path(), GetParam(), &why)) GTEST_SKIP() << why;
  for (int round = 0; round < 5; ++round) {
    TestDirectory directory;
    OtherProcess writer(
        [&](auto ready) { write_until_killed(directory.path(), GetParam(), ready); });
    writer.kill();
    std::string explanation;
    auto lock = DataDirectoryLock::acquire(directory.path(), &explanation, 5s);
    ASSERT_TRUE(lock) << explanation;
    auto disk = open_disk(directory.path(), DiskEngine::kPool, nullptr);
    auto file = (*disk)->open("data", OpenMode::kReadWrite);
    ByteVector first(*(*disk)->size(*file));
    ByteVector later(first.size());
    ASSERT_TRUE((*disk)->read_now(*file, 0, first));
    ASSERT_TRUE((*disk)->sync_now(*file));
    ASSERT_TRUE((*disk)->read_now(*file, 0, later));
    EXPECT_EQ(*(*disk)->size(*file), first.size());
    EXPECT_TRUE(equal(first, later));
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, EngineHoldsLock,
                         testing::Values(DiskEngine::kUring, DiskEngine::kPool),
                         [](const testing::TestParamInfo<DiskEngine>& engine) {
                           return engine.param == DiskEngine::kUring ? "Uring" : "Pool";
                         });

}  // namespace
}  // namespace waybill
