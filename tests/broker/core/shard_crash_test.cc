// Goal: whatever the power cuts - a write, a flush, a checkpoint, a release, a recovery - nothing
// that was confirmed is lost, nothing is invented, and recovering twice is recovering once (S9).
// Method: tiny files; the power fails at every disk call of short lives that together do
// everything, and at some of long ones; for each class of subsets of what was not yet on the medium
// recover, recover again, crash the recovery, and live on for two generations.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "tests/broker/core/shard_life.h"

namespace waybill {
namespace {

constexpr const char* kFirstFile = "shard-0/journal/000000000001.wbj";

/// Everything happens every few calls.
RigOptions tiny(std::uint16_t shards, SimOrder order) {
  return {.shards = shards,
          .journal_file = 96 * 1024,
          .tail_cache = 8 * 1024,
          .flush = {.segment_size = 8 * 1024, .step = 2048, .max_open = 2, .max_files = 4},
          .disk = {.order = order}};
}

/// How much is tried: 1 in the tests of a build; more by the environment.
std::uint64_t rounds() {
  const char* text = std::getenv("WAYBILL_CRASH_ROUNDS");
  const std::uint64_t wanted = text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
  return std::clamp<std::uint64_t>(wanted, 1, 100'000);
}

using NamedPlan = std::pair<std::string, CrashPlan>;

/// Every class of what a crash may keep; of single parts, each for every `cut` in turn.
std::vector<NamedPlan> plans_of(const SimDisk& disk, std::uint64_t cut) {
  std::vector<NamedPlan> plans;
  const std::vector<UnsyncedPart> parts = disk.unsynced();
  plans.emplace_back("none", keep_none());
  if (parts.empty()) return plans;
  plans.emplace_back("all", keep_all());
  const std::size_t one = cut % parts.size();
  plans.emplace_back("only " + std::to_string(one), keep_only(one));
  plans.emplace_back("all but " + std::to_string(one), keep_all_but(one));
  if (parts[one].kind == UnsyncedPart::Kind::kSector) {
    plans.emplace_back("torn " + std::to_string(one),
                       keep_torn(parts[one].write, parts[one].sector));
  }
  plans.emplace_back("random", keep_random(cut));
  return plans;
}

/// What was tried, and what it met.
struct Tally {
  std::uint64_t points = 0;
  std::uint64_t recoveries = 0;
  std::uint64_t checkpoints = 0;  ///< recoveries that began with one
  std::uint64_t released = 0;     ///< recoveries whose first journal file was gone
  std::uint64_t moved_aside = 0;  ///< files that recovery could not account for
  // In the lives that were not cut.
  std::uint64_t acked = 0;
  std::uint64_t buried = 0;
  std::uint64_t deleted = 0;  ///< topics
  std::uint64_t compactions = 0;
  std::uint64_t erased = 0;    ///< dead letters
  std::uint64_t redriven = 0;  ///< dead letters
  std::uint64_t trimmed = 0;   ///< messages that a group was not done with
  std::uint64_t rolled = 0;    ///< segments that were followed by another
  std::uint64_t recycled = 0;  ///< journal files that were put by and taken again
  // Lives, cut or not; the reserve on a disk that others fill.
  std::uint64_t carried = 0;  ///< bytes, forward in the journal
  std::uint64_t given = 0;    ///< at the end, flush and checkpoint had the reserve
  std::uint64_t whole = 0;    ///< at the end, it stood

  void operator+=(const Tally& other) {
    points += other.points;
    recoveries += other.recoveries;
    checkpoints += other.checkpoints;
    released += other.released;
    moved_aside += other.moved_aside;
    acked += other.acked;
    buried += other.buried;
    deleted += other.deleted;
    compactions += other.compactions;
    erased += other.erased;
    redriven += other.redriven;
    trimmed += other.trimmed;
    rolled += other.rolled;
    recycled += other.recycled;
    carried += other.carried;
    given += other.given;
    whole += other.whole;
  }
};

/// Segments of the shard's topics that others follow.
std::uint64_t rolls_of(Shard& shard) {
  std::uint64_t count = 0;
  const Partition* partition = shard.partitions().after({});
  for (; partition != nullptr;
       partition = shard.partitions().after({partition->topic, partition->index})) {
    count += std::max<std::size_t>(partition->log->segments().size(), 1) - 1;
  }
  return count;
}

/// Spares that were journal files: their numbers are below those of all that are in use.
std::set<std::string> put_by_on(const SimDisk& disk) {
  std::map<std::string, std::string> first;
  std::set<std::string> spares;
  for (const auto& [path, file] : disk.crash(keep_all()).files) {
    const std::size_t name = path.find("/journal/") + 9;
    if (name < 9 || path.ends_with(".filling")) continue;
    if (path.ends_with(".wbj")) first.try_emplace(path.substr(0, name), path.substr(name, 12));
    if (path.substr(name).starts_with("spare-")) spares.insert(path);
  }
  std::erase_if(spares, [&](const std::string& path) {
    const std::size_t name = path.find("spare-");
    return path.substr(name + 6, 12) >= first[path.substr(0, name)];
  });
  return spares;
}

/// Those that were put by at the call before, and are journal files again.
std::uint64_t taken_again(std::set<std::string>& put_by, const SimDisk& disk) {
  std::set<std::string> now = put_by_on(disk);
  const auto gone =
      std::ranges::count_if(put_by, [&](const std::string& path) { return !now.contains(path); });
  put_by = std::move(now);
  return static_cast<std::uint64_t>(gone);
}

class Enumeration {
 public:
  Enumeration(const RigOptions& options, bool compacts) : rig_(options), compacts_(compacts) {}

  /// The power fails at every `stride`-th call of a life of so many steps, from `first` on.
  void run(std::uint64_t seed, int steps, std::uint64_t first, std::uint64_t stride) {
    std::set<std::string> put_by;
    for (std::uint64_t cut = first;; cut += stride) {
      Told told;
      told.compacts = compacts_;
      told.fills = rig_.options.reserve > 0;
      ASSERT_TRUE(live(SimDiskImage{}, told, seed, steps, cut));
      const Tally did = did_;
      std::unique_ptr<SimDisk> crashed =
          std::exchange(rig_.disk, std::make_unique<SimDisk>(SimDiskImage{}));
      tally_.recycled += taken_again(put_by, *crashed);
      std::uint64_t number = cut / stride;
      for (auto& [name, plan] : plans_of(*crashed, cut / stride)) {
        SCOPED_TRACE("seed " + std::to_string(seed) + " cut at call " + std::to_string(cut) +
                     ", keep " + name);
        const SimDiskImage image = crashed->crash(plan);
        ++tally_.points;
        recover_twice(image, told);
        if (testing::Test::HasFailure()) return;
        if (number % 3 == 0) crash_recovery(image, told, cut + number);
        if (number % 4 == 1) live_on(image, told, cut + number);
        if (testing::Test::HasFailure()) return;
        ++number;
      }
      if (crashed->crashed()) continue;
      tally_ += did;
      tally_.acked += told.acked.size();
      tally_.buried += told.buried.size();
      tally_.deleted += told.deleted.size();
      tally_.erased += told.erased.size();
      return;
    }
  }

  [[nodiscard]] const Tally& tally() const { return tally_; }

 private:
  /// One life over the image, whose power fails at call `cut`. False: it did not start, and not
  /// because of that.
  bool live(SimDiskImage image, Told& told, std::uint64_t seed, int steps, std::uint64_t cut) {
    make_room();
    Result<void> opened = power_on(rig_, std::move(image), cut);
    if (!opened && !rig_.disk->crashed()) {
      ADD_FAILURE() << rig_.explanation;
      return false;
    }
    if (opened && rig_.ready) ShardLife(rig_, told, seed).work(steps);
    did_ = {};
    for (const auto& shard : rig_.shards) {
      did_.compactions += shard->metrics().compactions;
      did_.redriven += shard->metrics().redriven;
      did_.trimmed += shard->metrics().removed_messages;
      did_.rolled += rolls_of(*shard);
      tally_.carried += shard->metrics().carried_bytes;
      ++(shard->metrics().reserve_bytes > 0 ? tally_.whole : tally_.given);
    }
    return true;
  }

  /// A start may need a journal file: somebody sees to it that there is room for one.
  void make_room() { rig_.options.disk.capacity = UINT64_MAX; }

  /// Recovers for good and holds it against what was told.
  void recover(const SimDiskImage& image, Told& told) {
    make_room();
    Result<void> opened = power_on(rig_, image);
    ASSERT_TRUE(opened.ok()) << to_string(opened.error()) << ": " << rig_.explanation;
    ASSERT_TRUE(rig_.ready);
    ++tally_.recoveries;
    for (const RecoveryReport& report : rig_.reports) {
      tally_.checkpoints += report.checkpoint > 0 ? 1 : 0;
      tally_.moved_aside += report.moved_aside.size();
    }
    tally_.released += image.files.contains(kFirstFile) ? 0 : 1;
    ShardCheck(rig_, told).run();
  }

  void recover_twice(const SimDiskImage& image, Told told) {
    recover(image, told);
    if (testing::Test::HasFailure()) return;
    const std::vector<std::string> before = objects_of(rig_);
    rig_.restart();
    ++tally_.recoveries;
    EXPECT_TRUE(objects_of(rig_) == before) << "recovering again gives another state";
    if (tally_.points % 16 != 0) return;
    ShardCheck(rig_, told).check_erased();
  }

  /// The recovery fails as well, at several of its calls.
  void crash_recovery(const SimDiskImage& image, const Told& told, std::uint64_t seed) {
    for (std::uint64_t cut = seed % 7;; cut += 7) {
      Told known = told;
      if (!live(image, known, seed, 0, cut)) return;
      const bool over = !rig_.disk->crashed();
      ++tally_.points;
      const CrashPlan plan = cut % 3 == 0   ? keep_none()
                             : cut % 3 == 1 ? keep_all()
                                            : keep_random(cut + seed);
      SCOPED_TRACE("recovery cut at call " + std::to_string(cut));
      recover_twice(rig_.disk->crash(plan), known);
      if (over || testing::Test::HasFailure()) return;
    }
  }

  /// Two more generations of traffic and crash.
  void live_on(SimDiskImage image, Told told, std::uint64_t seed) {
    SeededRandom random(seed);
    for (int generation = 2; generation <= 3; ++generation) {
      SCOPED_TRACE("generation " + std::to_string(generation));
      recover(image, told);
      if (testing::Test::HasFailure()) return;
      rig_.disk->crash_after(random.below(150));
      ShardLife(rig_, told, random.next()).work(20);
      ++tally_.points;
      image = rig_.disk->crash(keep_random(random.next()));
    }
    recover_twice(image, told);
  }

  CoreRig rig_;
  bool compacts_;
  Tally tally_;
  Tally did_;  ///< in the last life
};

/// Others fill the disk now and then, to its last byte too, and make room again.
RigOptions on_a_full_disk(RigOptions options) {
  options.min_free = 150'000;
  options.reserve = 200'000;
  return options;
}

struct Life {
  std::uint64_t seed;
  int steps;
};

/// Lives that together do everything. Those of kEach are short, so that each of their calls is cut.
struct Lives {
  std::vector<Life> lives;
  std::uint64_t stride;   ///< one call of so many is cut; in each life another one is the first
  bool compacts = false;  ///< with a topic that is compacted, which makes them long
  bool trims = false;     ///< some of what a group is not done with
  bool recycles = false;  ///< journal files
};

/// Every call; fewer where each takes a sanitizer's time.
#ifdef WAYBILL_SANITIZED
constexpr std::uint64_t kEach = 11;
#else
constexpr std::uint64_t kEach = 1;
#endif

/// Rounds after the first begin with the next call each, and once all were cut, with other seeds.
void enumerate(const RigOptions& options, const Lives& set) {
  Tally all;
  for (std::uint64_t round = 0; round < rounds(); ++round) {
    for (std::uint64_t i = 0; i < set.lives.size() && !testing::Test::HasFailure(); ++i) {
      const std::uint64_t seed = set.lives[i].seed + round / set.stride;
      Enumeration enumeration(options, set.compacts);
      enumeration.run(seed, set.lives[i].steps, (round + i) % set.stride, set.stride);
      all += enumeration.tally();
    }
  }
  std::cout << "tried " << all.points << " crash points, recovered " << all.recoveries
            << " times: " << all.checkpoints << " from a checkpoint, " << all.released
            << " after journal files were released, " << all.moved_aside << " files moved aside\n"
            << "the lives: " << all.acked << " acknowledged, " << all.buried << " dead, "
            << all.redriven << " redriven, " << all.erased << " erased, " << all.trimmed
            << " trimmed, " << all.deleted << " topics deleted, " << all.rolled
            << " segments rolled, " << all.compactions << " compactions, " << all.recycled
            << " journal files recycled; " << all.carried << " bytes carried in all of them\n";
  EXPECT_GT(all.points, 500u);
  EXPECT_EQ(all.moved_aside, 0u) << "a crash leaves no file that nobody knows";
  EXPECT_GT(all.checkpoints, all.points / 4);
  EXPECT_GT(all.released, all.points / 10);
  EXPECT_GT(all.acked, 2u);
  EXPECT_GT(all.buried, 1u);
  EXPECT_GT(all.redriven, 0u);
  EXPECT_GT(all.erased, 0u);
  EXPECT_TRUE(all.trimmed > 0 || !set.trims);
  EXPECT_GT(all.deleted, 0u);
  EXPECT_GT(all.rolled, 0u);
  EXPECT_TRUE(all.recycled > 0 || !set.recycles);
  EXPECT_GT(all.carried, 0u);
  EXPECT_EQ(all.compactions > 0, set.compacts);
  if (options.reserve == 0) return;
  EXPECT_GT(all.given, all.points / 50) << "flush and checkpoint had the reserve";
  EXPECT_GT(all.whole, all.points / 50);
}

TEST(ShardCrash, NothingConfirmedIsLostWhereverThePowerFailsS9) {
  enumerate(tiny(1, SimOrder::kFifo),
            {.lives = {{48, 30}, {34, 20}, {290, 30}}, .stride = kEach, .trims = true});
}

TEST(ShardCrash, NothingConfirmedIsLostWhenTheDiskFinishesInAnyOrderS9) {
  enumerate(tiny(1, SimOrder::kRandom), {.lives = {{156, 30}, {386, 20}, {58, 12}},
                                         .stride = kEach,
                                         .compacts = true,
                                         .trims = true,
                                         .recycles = kEach == 1});
}

TEST(ShardCrash, NothingConfirmedIsLostOnADiskThatRunsFullS21) {
  enumerate(on_a_full_disk(tiny(1, SimOrder::kRandom)),
            {.lives = {{220, 30}, {80, 30}}, .stride = kEach});
}

TEST(ShardCrash, NothingConfirmedIsLostOverTwoShardsS13) {
  enumerate(tiny(2, SimOrder::kRandom), {.lives = {{202, 20}, {120, 8}, {233, 30}},
                                         .stride = kEach,
                                         .compacts = true,
                                         .trims = true});
}

TEST(ShardCrash, NothingConfirmedIsLostInALongLifeS9) {
  enumerate(tiny(1, SimOrder::kRandom),
            {.lives = {{101, 100}, {102, 100}}, .stride = 61, .compacts = true, .recycles = true});
}

TEST(ShardCrash, NothingConfirmedIsLostInALongLifeOnADiskThatRunsFullS21) {
  enumerate(on_a_full_disk(tiny(1, SimOrder::kRandom)),
            {.lives = {{301, 100}, {302, 100}}, .stride = 31, .recycles = true});
}

TEST(ShardCrash, NothingConfirmedIsLostInALongLifeOfTwoShardsS13) {
  enumerate(tiny(2, SimOrder::kRandom),
            {.lives = {{201, 60}, {202, 60}}, .stride = 61, .compacts = true, .recycles = true});
}

}  // namespace
}  // namespace waybill
