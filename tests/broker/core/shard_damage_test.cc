// Goal: whatever a disk, a copy or a person does to the files of a shard, it says so or goes on as
// before: never a crash, never a wrong byte, never less than was acknowledged without a word (S8,
// S10). Method: a shard with everything in it is stopped; bits are flipped all over each of its
// files, files are cut, emptied, swapped, removed and mixed; then it is started and read as a
// whole.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/broker/core/shard_look.h"

namespace waybill {
namespace {

std::ptrdiff_t journal_files(const SimDiskImage& image) {
  return std::ranges::count_if(image.files,
                               [](const auto& file) { return file.first.contains("/journal/"); });
}

class ShardDamage : public testing::Test {
 protected:
  ShardDamage() : rig_(tiny()) {}

  /// Starts over the image. Refused, it must say why by naming one of the files. Started, whatever
  /// is not served must be an error that names the file.
  void expect_honest(const SimDiskImage& image, const std::string& path) {
    Result<void> opened = power_on(rig_, image);
    if (!opened) {
      ++refused_;
      EXPECT_EQ(opened.error().code, Errc::kDamaged) << rig_.explanation;
      // Without its checkpoint, nobody knows its number any more.
      const bool gone = path.ends_with(".wbc") && !image.files.contains(path);
      EXPECT_NE(rig_.explanation.find(gone ? "checkpoint" : path), std::string::npos)
          << rig_.explanation;
      // Or each try of whatever starts it again would take another file.
      EXPECT_LE(journal_files(rig_.disk->crash(keep_all())), journal_files(image));
      return;
    }
    ASSERT_TRUE(rig_.ready) << "it started and serves nobody";
    const std::size_t unread = Look(rig_, sound_).unread(path);
    unread > 0 ? ++partly_ : ++same_;
    if (unread == 0) {
      EXPECT_TRUE(objects_of(rig_) == sound_.objects) << "the state is another one";
    }
  }

  void print(const char* what) const {
    std::cout << what << ": " << refused_ << " refused, " << partly_ << " in part readable, "
              << same_ << " without effect\n";
  }

  CoreRig rig_;
  Told told_;
  Sound sound_ = make_sound(rig_, told_, 100);
  std::size_t refused_ = 0;
  std::size_t partly_ = 0;
  std::size_t same_ = 0;
};

TEST_F(ShardDamage, EveryFlippedBitIsNamedOrWithoutEffectS8) {
  std::size_t turn = 0;
  for (const auto& [path, content] : sound_.image.files) {
    SCOPED_TRACE(path);
    for (std::uint64_t position = turn % 7; position < content.size();) {
      SCOPED_TRACE(position);
      SimDiskImage image = sound_.image;
      image.flip_bit(path, position, static_cast<unsigned>(turn % 8));
      expect_honest(image, path);
      if (HasFailure()) return;
      // Headers closely, bodies here and there.
      position += position % limits::kBlock < 64 ? 13 : 797;
      ++turn;
    }
  }
  print("flipped bits");
  EXPECT_GT(refused_, 50u);
  EXPECT_GT(partly_, 20u);
  EXPECT_GT(same_, 20u);
}

TEST_F(ShardDamage, EveryWipedBlockIsNamedOrWithoutEffectS8) {
  const ByteVector zeros(limits::kBlock);
  for (const auto& [path, content] : sound_.image.files) {
    for (std::uint64_t position = 0; position < content.size(); position += limits::kBlock) {
      SCOPED_TRACE(path + " at " + std::to_string(position));
      SimDiskImage image = sound_.image;
      image.files[path].write(position, zeros);
      expect_honest(image, path);
      if (HasFailure()) return;
    }
  }
  print("wiped blocks");
}

TEST_F(ShardDamage, AFileThatIsCutEmptyForeignOrGoneIsNamedOrWithoutEffectS10) {
  const ByteVector foreign = to_vector(as_bytes(std::string(20'000, '?')));
  for (const auto& [path, content] : sound_.image.files) {
    const ByteVector bytes = content.bytes();
    for (int kind = 0; kind < 5; ++kind) {
      SCOPED_TRACE(path + " kind " + std::to_string(kind));
      SimDiskImage image = sound_.image;
      SimContent changed;
      if (kind == 0) changed.write(0, Bytes(bytes).first(bytes.size() / 2));
      if (kind == 1)
        changed.write(0, Bytes(bytes).first(bytes.size() - std::min<std::size_t>(1, bytes.size())));
      if (kind == 2) changed.write(0, foreign);
      image.files[path] = changed;  // kind 3: empty
      if (kind == 4) image.files.erase(path);
      expect_honest(image, path);
      if (HasFailure()) return;
    }
  }
  print("cut, foreign, empty, removed");
}

TEST_F(ShardDamage, AFileOfAnotherPlaceIsNamedOrWithoutEffectS2) {
  std::vector<std::string> paths;
  for (const auto& [path, content] : sound_.image.files) paths.push_back(path);
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const std::string& other = paths[(i * 7 + 3) % paths.size()];
    if (other == paths[i]) continue;
    SCOPED_TRACE(paths[i] + " is a copy of " + other);
    SimDiskImage image = sound_.image;
    image.files[paths[i]] = sound_.image.files[other];
    expect_honest(image, paths[i]);
    if (HasFailure()) return;
  }
  print("swapped");
}

/// S5's exception: before the mark is durable, damage to the very last frame looks like a torn
/// tail. It is reported as one, and nothing but that frame is missing.
TEST(ShardDamageWithoutMark, OnlyTheVeryLastFrameLooksTornS5) {
  CoreRig rig(tiny());
  Told told;
  ShardLife(rig, told, 7).work(40);
  TestClient& client = rig.connect(98);
  Reply<PublishResult> last = client.publish(told.orders, 0, {"the very last"});
  ASSERT_TRUE(last.ok());
  const SimDiskImage image = rig.disk->crash(keep_all());
  std::string newest;
  for (const auto& [path, content] : image.files) {
    if (path.ends_with(".wbj")) newest = path;
  }
  std::size_t torn = 0;
  for (std::uint64_t position = 4096; position < 96 * 1024; position += 61) {
    SCOPED_TRACE(position);
    SimDiskImage flipped = image;
    flipped.flip_bit(newest, position, 2);
    if (!power_on(rig, flipped).ok()) continue;
    TestClient& reader = rig.connect(99);
    Reply<ReadReply> read = reader.read(told.orders, 0, last->base_offset.value);
    ASSERT_TRUE(read.ok());
    if (read->end == last->base_offset + 1) continue;
    ASSERT_EQ(read->end, last->base_offset) << "more than the last frame is gone";
    ASSERT_GT(rig.reports[0].torn_at_position, 0u) << "and nobody said so";
    ++torn;
  }
  EXPECT_GT(torn, 10u);
}

/// Files of several moments together, as a copy of a directory in use is: refused, or what is
/// served is right, as far as it goes. A copy is no backup unless the broker is stopped.
TEST(ShardCopy, ACopyMadeWhileRunningIsRefusedOrServesWhatWasThere) {
  CoreRig rig(tiny());
  Told told;
  std::vector<SimDiskImage> moments;
  for (int i = 0; i < 8; ++i) {
    ShardLife(rig, told, 70 + static_cast<std::uint64_t>(i)).work(15);
    moments.push_back(rig.disk->crash(keep_all()));
  }
  SeededRandom random(5);
  std::size_t started = 0;
  for (int i = 0; i < 400; ++i) {
    SCOPED_TRACE(i);
    SimDiskImage mixed = moments[random.below(moments.size())];
    const SimDiskImage& other = moments[random.below(moments.size())];
    for (const auto& [path, content] : other.files) {
      if (random.below(3) == 0) mixed.files[path] = content;
    }
    std::erase_if(mixed.files, [&](const auto&) { return random.below(20) == 0; });
    for (const std::string& directory : other.directories) mixed.directories.insert(directory);
    Result<void> opened = power_on(rig, mixed);
    if (!opened) {
      EXPECT_FALSE(rig.explanation.empty()) << to_string(opened.error());
      continue;
    }
    ++started;
    TestClient& client = rig.connect(99);
    for (std::uint32_t p = 0; p < ShardLife::kPartitions; ++p) {
      for (std::int64_t next = 0; next < 500; ++next) {
        Reply<ReadReply> read = client.read(told.orders, p, next);
        if (!read) continue;
        for (const auto& [offset, value] : records_of(read->batches)) {
          auto known = told.confirmed.find({p, offset.value});
          ASSERT_TRUE(known != told.confirmed.end() && known->second == value) << "wrong bytes";
        }
      }
    }
  }
  std::cout << started << " of 400 started\n";
}

/// Times of the past and of the future change nothing about what is there.
TEST(ShardClock, AClockThatJumpsIsNoDamage) {
  CoreRig rig(tiny());
  Told told;
  for (int i = 0; i < 6; ++i) {
    ShardLife(rig, told, 7).work(20);
    rig.clock.jump_wall(i % 2 == 0 ? -hours(24 * 400) : hours(24 * 300));
    rig.restart(keep_random(static_cast<std::uint64_t>(i)));
    ShardCheck(rig, told).run();
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace waybill
