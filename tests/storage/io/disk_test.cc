// Goal: every Disk keeps the same contract, so that what is proven on SimDisk holds on real ones.
// Method: one suite, run against the simulated disk and against io_uring and the thread pool, each
// with direct and with buffered files, in a directory on a real file system.
#include "storage/io/disk.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "storage/io/disk_engine.h"
#include "storage/io/sim_disk.h"
#include "tests/storage/io/test_directory.h"

namespace waybill {
namespace {

struct Engine {
  const char* name;
  DiskEngine engine;
  bool direct;
  bool simulated;
};

class DiskContract : public testing::TestWithParam<Engine> {
 protected:
  void SetUp() override { reopen(); }

  void reopen() {
    disk_.reset();
    if (GetParam().simulated) {
      disk_ = std::make_unique<SimDisk>(SimDiskImage{}, SimDiskOptions{.seed = 3});
      return;
    }
    std::string why;
    Result<std::unique_ptr<Disk>> opened =
        open_disk(directory_.path(), GetParam().engine, &why, {.direct = GetParam().direct});
    if (!opened && GetParam().engine == DiskEngine::kUring) GTEST_SKIP() << why;
    ASSERT_TRUE(opened) << to_string(opened.error());
    disk_ = std::move(*opened);
  }

  FileHandle create(std::string_view path) {
    Result<FileHandle> file = disk_->open(path, OpenMode::kCreate);
    EXPECT_TRUE(file) << to_string(file.error());
    return *file;
  }

  void finish_all() {
    disk_->submit();
    while (disk_->pending() > 0) disk_->wait();
  }

  ByteVector contents(FileHandle file) {
    ByteVector bytes(*disk_->size(file));
    Result<std::size_t> got = disk_->read_now(file, 0, bytes);
    EXPECT_TRUE(got && *got == bytes.size());
    return bytes;
  }

  TestDirectory directory_;
  std::unique_ptr<Disk> disk_;
};

Disk::Completion expect_bytes(std::size_t size, int* calls) {
  return [size, calls](Result<std::size_t> done) {
    ASSERT_TRUE(done) << to_string(done.error());
    EXPECT_EQ(*done, size);
    ++*calls;
  };
}

TEST_P(DiskContract, WritesAreReadBackWithTheirSizes) {
  FileHandle file = create("data");
  AlignedBlocks first(2, 0xaa);
  AlignedBlocks second(1, 0xbb);
  int calls = 0;
  disk_->write(file, 4096, first.view(), Durability::kDurable, expect_bytes(8192, &calls));
  disk_->write(file, 0, second.view(), Durability::kBuffered, expect_bytes(4096, &calls));
  finish_all();
  disk_->sync(file, expect_bytes(0, &calls));
  finish_all();
  AlignedBlocks back(4);
  disk_->read(file, 0, back.bytes(), expect_bytes(12288, &calls));
  finish_all();
  EXPECT_EQ(calls, 4);
  EXPECT_TRUE(equal(back.view().first(4096), second.view()));
  EXPECT_TRUE(equal(back.view().subspan(4096, 8192), first.view()));
  EXPECT_EQ(*disk_->size(file), 12288u);
}

TEST_P(DiskContract, S14CompletionsRunOnlyInReapAndWait) {
  FileHandle file = create("data");
  AlignedBlocks block(1, 1);
  bool reaping = false;
  int calls = 0;
  for (int i = 0; i < 20; ++i) {
    disk_->write(file, 0, block.view(), Durability::kDurable, [&](Result<std::size_t> done) {
      EXPECT_TRUE(done);
      EXPECT_TRUE(reaping);
      ++calls;
    });
    disk_->submit();
  }
  EXPECT_EQ(disk_->pending(), 20u);
  while (disk_->pending() > 0) {
    reaping = true;
    disk_->wait();
    reaping = false;
  }
  EXPECT_EQ(calls, 20);
  EXPECT_EQ(disk_->reap(), 0u);
}

TEST_P(DiskContract, MoreOperationsThanTheEngineTakesAtOnceAllFinishOnce) {
  constexpr std::size_t kCount = 900;
  FileHandle file = create("data");
  AlignedBlocks blocks(kCount);
  std::vector<int> calls(kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    MutableBytes block = blocks.bytes().subspan(i * 4096, 4096);
    std::memset(block.data(), static_cast<int>(i % 251 + 1), 4096);
    disk_->write(file, i * 4096, block, Durability::kBuffered, expect_bytes(4096, &calls[i]));
  }
  finish_all();
  EXPECT_TRUE(std::all_of(calls.begin(), calls.end(), [](int n) { return n == 1; }));
  EXPECT_TRUE(equal(contents(file), blocks.view()));
}

TEST_P(DiskContract, ACompletionMayQueueTheNextOperation) {
  FileHandle file = create("data");
  AlignedBlocks block(1, 7);
  std::size_t written = 0;
  std::function<void()> next = [&] {
    disk_->write(file, written * 4096, block.view(), Durability::kDurable,
                 [&](Result<std::size_t> done) {
                   ASSERT_TRUE(done);
                   if (++written < 5) next();
                 });
  };
  next();
  finish_all();
  EXPECT_EQ(written, 5u);
  EXPECT_EQ(*disk_->size(file), 5u * 4096);
}

TEST_P(DiskContract, ReadingPastTheEndGivesFewerBytes) {
  FileHandle file = create("data");
  ASSERT_TRUE(disk_->write_now(file, 0, AlignedBlocks(1, 9).view()));
  ASSERT_TRUE(disk_->write_now(file, 4096, as_bytes("tail")));
  AlignedBlocks back(3);
  int calls = 0;
  disk_->read(file, 0, back.bytes(), expect_bytes(4100, &calls));
  disk_->read(file, 8192, back.bytes().first(4096), expect_bytes(0, &calls));
  finish_all();
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(*disk_->read_now(file, 4098, back.bytes().first(100)), 2u);
  EXPECT_EQ(as_text(back.view().first(2)), "il");
  EXPECT_EQ(*disk_->read_now(file, 5000, back.bytes().first(100)), 0u);
}

TEST_P(DiskContract, BlockingCallsTakeAnyAlignment) {
  FileHandle file = create("data");
  SeededRandom random(11);
  ByteVector model;
  for (int step = 0; step < 60; ++step) {
    const std::size_t position = random.below(20'000);
    ByteVector data(random.below(9'000) + 1);
    for (std::byte& b : data) b = static_cast<std::byte>(random.next());
    if (model.size() < position + data.size()) model.resize(position + data.size());
    std::copy(data.begin(), data.end(), model.begin() + static_cast<std::ptrdiff_t>(position));
    ASSERT_TRUE(disk_->write_now(file, position, data));
    ASSERT_EQ(*disk_->size(file), model.size());
    const std::size_t from = random.below(model.size());
    ByteVector back(random.below(12'000) + 1);
    const std::size_t expected = std::min(back.size(), model.size() - from);
    ASSERT_EQ(*disk_->read_now(file, from, back), expected);
    ASSERT_TRUE(equal(Bytes(back).first(expected), Bytes(model).subspan(from, expected)));
  }
  ASSERT_TRUE(disk_->sync_now(file));
  EXPECT_TRUE(equal(contents(file), model));
}

TEST_P(DiskContract, OpenSaysWhatIsMissingAndWhatIsThere) {
  EXPECT_EQ(disk_->open("none", OpenMode::kRead).error(), Errc::kNotFound);
  EXPECT_EQ(disk_->open("none", OpenMode::kReadWrite).error(), Errc::kNotFound);
  EXPECT_EQ(disk_->open("none/file", OpenMode::kCreate).error(), Errc::kNotFound);
  disk_->close(create("file"));
  EXPECT_EQ(disk_->open("file", OpenMode::kCreate).error().os_errno, EEXIST);
  Result<FileHandle> again = disk_->open("file", OpenMode::kRead);
  ASSERT_TRUE(again);
  EXPECT_EQ(*disk_->size(*again), 0u);
  disk_->close(*again);
}

TEST_P(DiskContract, PathsThatLeadOutsideAreRefused) {
  for (std::string_view path : {"/etc/passwd", "../x", "a/../b", "a//b", "", ".", "a/", "./a"}) {
    EXPECT_EQ(disk_->open(path, OpenMode::kCreate).error(), Errc::kInvalidName) << path;
    EXPECT_EQ(disk_->remove(path).error(), Errc::kInvalidName) << path;
    EXPECT_EQ(disk_->make_directory(path).error(), Errc::kInvalidName) << path;
    EXPECT_EQ(disk_->create_directory(path).error(), Errc::kInvalidName) << path;
  }
  EXPECT_EQ(disk_->rename("a", "../a").error(), Errc::kInvalidName);
  EXPECT_EQ(disk_->list("..").error(), Errc::kInvalidName);
  EXPECT_EQ(disk_->sync_directory("/").error(), Errc::kInvalidName);
}

TEST_P(DiskContract, DirectoriesListRenameAndRemove) {
  ASSERT_TRUE(disk_->make_directory("shard-0"));
  ASSERT_TRUE(disk_->make_directory("shard-0"));
  ASSERT_TRUE(disk_->make_directory("shard-0/journal"));
  FileHandle file = create("shard-0/journal/spare");
  ASSERT_TRUE(disk_->write_now(file, 0, as_bytes("kept")));
  disk_->close(create("shard-0/journal/1.wbj"));
  ASSERT_TRUE(disk_->rename("shard-0/journal/spare", "shard-0/journal/0.wbj"));
  ASSERT_TRUE(disk_->sync_directory("shard-0/journal"));
  ASSERT_TRUE(disk_->sync_directory(""));
  EXPECT_EQ(*disk_->list("shard-0/journal"), (std::vector<std::string>{"0.wbj", "1.wbj"}));
  EXPECT_EQ(*disk_->list("shard-0"), (std::vector<std::string>{"journal"}));
  EXPECT_EQ(*disk_->list(""), (std::vector<std::string>{"shard-0"}));
  EXPECT_EQ(as_text(contents(file)), "kept");
  ASSERT_TRUE(disk_->create_directory("shard-0/streams"));
  ASSERT_TRUE(disk_->create_directory("shard-0/streams"));
  EXPECT_EQ(disk_->create_directory("shard-0/journal/0.wbj").error().os_errno, ENOTDIR);
  EXPECT_EQ(disk_->create_directory("nothing/else").error(), Errc::kNotFound);
  ASSERT_TRUE(disk_->remove("shard-0/streams"));
  EXPECT_EQ(disk_->rename("nothing", "else").error(), Errc::kNotFound);
  EXPECT_EQ(disk_->list("nothing").error(), Errc::kNotFound);
  EXPECT_EQ(disk_->sync_directory("nothing").error(), Errc::kNotFound);
  EXPECT_EQ(disk_->remove("nothing").error(), Errc::kNotFound);
  EXPECT_EQ(disk_->remove("shard-0/journal").error().os_errno, ENOTEMPTY);
  ASSERT_TRUE(disk_->remove("shard-0/journal/0.wbj"));
  ASSERT_TRUE(disk_->remove("shard-0/journal/1.wbj"));
  ASSERT_TRUE(disk_->remove("shard-0/journal"));
  EXPECT_EQ(*disk_->list("shard-0"), std::vector<std::string>{});
  EXPECT_EQ(as_text(contents(file)), "kept") << "an open file outlives its name";
}

TEST_P(DiskContract, ADirectoryIsSyncedBesideOtherOperations) {
  ASSERT_TRUE(disk_->make_directory("one"));
  std::map<std::string, Result<std::size_t>> done;
  for (const char* path : {"one", "", "nothing", "../one"}) {
    disk_->sync_directory(
        path, [&done, path](Result<std::size_t> result) { done.emplace(path, std::move(result)); });
  }
  EXPECT_TRUE(done.empty());
  while (disk_->pending() > 0) disk_->wait();
  ASSERT_EQ(done.size(), 4u);
  EXPECT_TRUE(done.at("one").ok());
  EXPECT_TRUE(done.at("").ok());
  EXPECT_EQ(done.at("nothing").error(), Errc::kNotFound);
  EXPECT_EQ(done.at("../one").error(), Errc::kInvalidName);
}

TEST_P(DiskContract, AFileIsRemovedBesideOtherOperationsAndItsRoomGivenBack) {
  constexpr std::size_t kSize = 5 * 1024 * 1024;  // three pieces
  FileHandle file = create("large");
  ASSERT_TRUE(disk_->write_now(file, 0, ByteVector(kSize, std::byte{7})));
  ASSERT_TRUE(disk_->make_directory("one"));
  std::map<std::string, Result<std::size_t>> done;
  for (const char* path : {"large", "nothing", "one", "../one"}) {
    disk_->remove(
        path, [&done, path](Result<std::size_t> result) { done.emplace(path, std::move(result)); });
  }
  EXPECT_TRUE(done.empty());
  finish_all();
  ASSERT_EQ(done.size(), 4u);
  EXPECT_TRUE(done.at("large").ok());
  EXPECT_EQ(done.at("nothing").error(), Errc::kNotFound);
  EXPECT_EQ(done.at("one").error().os_errno, EISDIR);
  EXPECT_EQ(done.at("../one").error(), Errc::kInvalidName);
  EXPECT_EQ(*disk_->list(""), std::vector<std::string>{"one"});
  EXPECT_EQ(contents(file), ByteVector(kSize)) << "nothing of it takes room any more";
}

TEST_P(DiskContract, RenameReplacesTheTarget) {
  FileHandle old_file = create("target");
  FileHandle new_file = create("source");
  ASSERT_TRUE(disk_->write_now(old_file, 0, as_bytes("old")));
  ASSERT_TRUE(disk_->write_now(new_file, 0, as_bytes("new")));
  ASSERT_TRUE(disk_->rename("source", "target"));
  Result<FileHandle> found = disk_->open("target", OpenMode::kRead);
  ASSERT_TRUE(found);
  EXPECT_EQ(as_text(contents(*found)), "new");
  EXPECT_EQ(disk_->list("")->size(), 1u);
}

TEST_P(DiskContract, AFileMayBeClosedWhileItsWriteIsInFlight) {
  AlignedBlocks block(1, 5);
  int calls = 0;
  FileHandle file = create("data");
  disk_->write(file, 0, block.view(), Durability::kDurable, expect_bytes(4096, &calls));
  disk_->submit();
  disk_->close(file);
  FileHandle other = create("other");
  finish_all();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(*disk_->size(other), 0u);
  EXPECT_TRUE(equal(contents(*disk_->open("data", OpenMode::kRead)), block.view()));
}

TEST_P(DiskContract, DestructionWaitsAndRunsNoCompletion) {
  auto owner = std::make_shared<AlignedBlocks>(16, 4);
  FileHandle file = create("data");
  for (int i = 0; i < 40; ++i) {
    disk_->write(file, 0, owner->view(), Durability::kDurable,
                 [owner](Result<std::size_t>) { ADD_FAILURE() << "a completion ran"; });
    if (i == 30) disk_->submit();
  }
  disk_.reset();
  EXPECT_EQ(owner.use_count(), 1) << "completions are destroyed with the disk";
}

TEST_P(DiskContract, TheCompletionDescriptorWakesTheOwner) {
  if (GetParam().simulated) GTEST_SKIP() << "a simulated disk has none";
  FileHandle file = create("data");
  AlignedBlocks block(1, 5);
  int calls = 0;
  int queued = 0;
  for (int round = 1; round <= 200; ++round) {
    // The first round holds more than an engine takes at once: reaping lets the rest in.
    for (unsigned i = 0; i < (round == 1 ? 600u : 3u); ++i, ++queued)
      disk_->write(file, 4096u * i, block.view(), Durability::kBuffered,
                   expect_bytes(4096, &calls));
    disk_->submit();
    while (disk_->pending() > 0) {
      pollfd ready{.fd = disk_->completion_fd(), .events = POLLIN, .revents = 0};
      ASSERT_EQ(::poll(&ready, 1, 10'000), 1) << "a wake-up was lost in round " << round;
      std::uint64_t count = 0;
      ASSERT_EQ(::read(disk_->completion_fd(), &count, sizeof count), 8);
      disk_->reap();
    }
    ASSERT_EQ(calls, queued);
  }
}

TEST_P(DiskContract, WhatWasWrittenIsThereAfterReopening) {
  if (GetParam().simulated) GTEST_SKIP() << "see SimDiskTest for what survives";
  AlignedBlocks block(3, 0x5a);
  int calls = 0;
  disk_->write(create("data"), 0, block.view(), Durability::kDurable, expect_bytes(12288, &calls));
  finish_all();
  reopen();
  EXPECT_TRUE(equal(contents(*disk_->open("data", OpenMode::kRead)), block.view()));
}

TEST_P(DiskContract, AnErrorReachesTheCompletion) {
  disk_->close(create("data"));
  if (GetParam().simulated) {
    static_cast<SimDisk&>(*disk_).fail_after(1, Errc::kIo);
  }
  FileHandle file = *disk_->open("data", OpenMode::kRead);
  AlignedBlocks block(1);
  Errc seen{};
  if (GetParam().simulated) {
    disk_->read(file, 0, block.bytes(),
                [&](Result<std::size_t> done) { seen = done.error().code; });
  } else {
    disk_->write(file, 0, block.view(), Durability::kDurable,
                 [&](Result<std::size_t> done) { seen = done.error().code; });
  }
  finish_all();
  EXPECT_EQ(seen, Errc::kIo);
}

TEST_P(DiskContract, RoomIsTakenUpAheadAndWhatIsFreeIsKnownS21) {
  ASSERT_TRUE(disk_->free_space()) << "every file system here says it";
  FileHandle file = create("reserve");
  const Result<void> allocated = disk_->allocate(file, 100'000);
  if (!allocated && allocated.error().os_errno == EOPNOTSUPP) GTEST_SKIP() << "not on this one";
  ASSERT_TRUE(allocated) << to_string(allocated.error());
  EXPECT_EQ(*disk_->size(file), 100'000u);
  EXPECT_TRUE(disk_->allocate(file, 4096));
  EXPECT_EQ(contents(file), ByteVector(100'000)) << "it never shrinks, and new bytes are zeros";
  disk_->close(file);
}

INSTANTIATE_TEST_SUITE_P(AllEngines, DiskContract,
                         testing::Values(Engine{"Simulated", DiskEngine::kAuto, true, true},
                                         Engine{"UringDirect", DiskEngine::kUring, true, false},
                                         Engine{"UringBuffered", DiskEngine::kUring, false, false},
                                         Engine{"PoolDirect", DiskEngine::kPool, true, false},
                                         Engine{"PoolBuffered", DiskEngine::kPool, false, false}),
                         [](const testing::TestParamInfo<Engine>& engine) {
                           return std::string(engine.param.name);
                         });

}  // namespace
}  // namespace waybill
