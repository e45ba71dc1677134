// Goal: a broker starts with the best engine its machine allows and says why it is not a better
// one. Method: open_disk() in a thread whose seccomp filter refuses io_uring as Docker's does, and
// on a memory file system, compared with what the kernel itself answers.
#include "storage/io/disk_engine.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <thread>

#include "tests/storage/io/test_directory.h"

namespace waybill {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// io_uring_setup fails with `failure` in this thread from now on.
bool refuse_io_uring(int failure) {
  std::array<sock_filter, 4> code = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(failure)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  sock_fprog program{.len = code.size(), .filter = code.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/// open_disk where io_uring_setup fails.
Result<std::unique_ptr<Disk>> open_refused(const TestDirectory& directory, DiskEngine engine,
                                           int failure, std::string* why) {
  Result<std::unique_ptr<Disk>> disk(Errc::kClosed, "the filter was not installed");
  std::thread([&] {
    if (refuse_io_uring(failure)) disk = open_disk(directory.path(), engine, why);
  }).join();
  return disk;
}

TEST(DiskEngineTest, AutoTakesThePoolWhereIoUringIsBlockedAndSaysHowToChangeIt) {
  TestDirectory directory;
  std::string why;
  Result<std::unique_ptr<Disk>> disk = open_refused(directory, DiskEngine::kAuto, EPERM, &why);
  ASSERT_TRUE(disk) << to_string(disk.error());
  EXPECT_THAT((*disk)->describe(), HasSubstr("thread pool"));
  EXPECT_THAT(why, AllOf(HasSubstr("seccomp"), HasSubstr("kernel.io_uring_disabled"),
                         HasSubstr("two to three times")));
}

TEST(DiskEngineTest, AutoTakesThePoolOnAnOldKernelAndWithoutMemory) {
  TestDirectory directory;
  std::string why;
  ASSERT_TRUE(open_refused(directory, DiskEngine::kAuto, ENOSYS, &why));
  EXPECT_THAT(why, HasSubstr("Linux 5.6"));
  ASSERT_TRUE(open_refused(directory, DiskEngine::kAuto, ENOMEM, &why));
  EXPECT_THAT(why, HasSubstr("locked-memory"));
}

TEST(DiskEngineTest, AskedForIoUringItFailsInsteadOfFallingBack) {
  TestDirectory directory;
  std::string why;
  Result<std::unique_ptr<Disk>> disk = open_refused(directory, DiskEngine::kUring, EPERM, &why);
  ASSERT_FALSE(disk);
  EXPECT_EQ(disk.error().os_errno, EPERM);
  EXPECT_THAT(why, HasSubstr("seccomp"));
}

TEST(DiskEngineTest, AMissingDirectoryIsNotBlamedOnTheEngine) {
  for (DiskEngine engine : {DiskEngine::kAuto, DiskEngine::kUring, DiskEngine::kPool}) {
    std::string why = "old";
    Result<std::unique_ptr<Disk>> disk = open_disk("/nonexistent/data", engine, &why);
    ASSERT_FALSE(disk);
    EXPECT_EQ(disk.error(), Errc::kNotFound);
    EXPECT_EQ(why, "");
  }
}

TEST(DiskEngineTest, S4FilesAreBufferedWhereTheFileSystemRefusesDirectOnesAndDescribeSaysSo) {
  TestDirectory directory("/dev/shm");
  if (directory.path().empty()) GTEST_SKIP() << "no memory file system at /dev/shm";
  int fd = ::open((directory.path() + "/probe").c_str(), O_RDWR | O_CREAT | O_DIRECT, 0600);
  const bool refused = fd < 0 && errno == EINVAL;
  if (fd >= 0) ::close(fd);
  Result<std::unique_ptr<Disk>> disk = open_disk(directory.path(), DiskEngine::kPool, nullptr);
  ASSERT_TRUE(disk);
  EXPECT_THAT((*disk)->describe(), HasSubstr(refused ? "buffered" : "direct"));
  Result<FileHandle> file = (*disk)->open("data", OpenMode::kCreate);
  ASSERT_TRUE(file);
  AlignedBlocks block(1, 8);
  std::size_t written = 0;
  (*disk)->write(*file, 0, block.view(), Durability::kDurable,
                 [&](Result<std::size_t> done) { written = done ? *done : 0; });
  (*disk)->wait();
  EXPECT_EQ(written, 4096u);
}

TEST(DiskEngineTest, TheRingBelongsToTheThreadThatFirstSubmits) {
  TestDirectory directory;
  std::string why;
  Result<std::unique_ptr<Disk>> disk = open_disk(directory.path(), DiskEngine::kUring, &why);
  if (!disk) GTEST_SKIP() << why;
  FileHandle file = *(*disk)->open("data", OpenMode::kCreate);
  std::size_t written = 0;
  std::thread([&] {
    AlignedBlocks block(1, 8);
    (*disk)->write(file, 0, block.view(), Durability::kDurable,
                   [&](Result<std::size_t> done) { written = done ? *done : 0; });
    (*disk)->wait();
    disk->reset();
  }).join();
  EXPECT_EQ(written, 4096u);
}

}  // namespace
}  // namespace waybill
