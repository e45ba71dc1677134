// Goal: after a crash at any call, everything a segment writer said is durable is there byte for
// byte, and nothing is there that was not appended.
// Method: small workloads on SimDisk, cut at every call, in several orders of completion, with
// every class of what a crash may keep; the number of crash points is printed.
#include <cstdio>

#include "tests/storage/segment_rig.h"

namespace waybill {
namespace {

struct Oracle {
  std::vector<ByteVector> appended;
  SegmentClaim claim;
  bool sealed = false;
};

/// Appends, flushes, syncs and seals as the seed says, until it is done or the disk is gone.
Oracle work(SimDisk& disk, std::uint64_t seed) {
  SeededRandom random(seed);
  SegmentRig rig(disk);
  Oracle oracle;
  oracle.claim.end = kSegment.base;
  if (!rig.create()) return oracle;
  const std::size_t steps = 10 + random.below(6);
  for (std::size_t step = 0; step <= steps; ++step) {
    const std::uint64_t kind = random.below(10);
    if (step == steps) {
      if (rig.writer->end() > kSegment.base) rig.writer->seal();
    } else if (kind < 5) {
      rig.append(static_cast<std::uint32_t>(1 + random.below(3)), random.below(4) == 0 ? 6000 : 30);
    } else if (kind < 7) {
      rig.writer->flush();
    } else if (kind < 9) {
      rig.writer->flush();
      rig.writer->sync();
    }
    disk.submit();
    if (random.below(3) == 0) disk.reap();
    if (random.below(5) == 0) drain(disk);
  }
  drain(disk);
  oracle.appended = rig.batches;
  oracle.claim = rig.claim();
  oracle.sealed = rig.writer->sealed();
  return oracle;
}

void check_image(const SimDiskImage& image, const Oracle& oracle, const std::string& where) {
  SimDisk disk(image);
  if (oracle.claim.position > 0) {
    SegmentLook claimed(disk, kSegment, oracle.claim);
    ASSERT_TRUE(claimed.ok()) << where << ": " << claimed.explanation;
    ASSERT_GE(claimed.reader().end(), oracle.claim.end) << where;
    if (oracle.sealed) {
      ASSERT_TRUE(claimed.reader().sealed()) << where;
    }
    Result<std::vector<ByteVector>> got = claimed.read_all(100'000);
    ASSERT_TRUE(got.ok()) << where << ": " << claimed.reader().explain_damage();
    ASSERT_LE(got->size(), oracle.appended.size()) << where << ": invented";
    for (std::size_t i = 0; i < got->size(); ++i)
      ASSERT_EQ((*got)[i], oracle.appended[i]) << where << ": batch " << i;
  }
  // A look without a claim finds a beginning of what was appended, whatever else is there.
  SegmentLook look(disk);
  if (!look.ok()) {
    ASSERT_EQ(look.error().code, Errc::kNotFound) << where << ": " << look.explanation;
    return;
  }
  Result<std::vector<ByteVector>> got = look.read_all(100'000);
  ASSERT_TRUE(got.ok()) << where;
  ASSERT_LE(got->size(), oracle.appended.size()) << where << ": invented";
  for (std::size_t i = 0; i < got->size(); ++i)
    ASSERT_EQ((*got)[i], oracle.appended[i]) << where << ": batch " << i;
}

std::vector<std::pair<std::string, CrashPlan>> plans_of(const SimDisk& disk, std::uint64_t seed) {
  std::vector<std::pair<std::string, CrashPlan>> plans;
  plans.emplace_back("none", keep_none());
  plans.emplace_back("all", keep_all());
  const std::vector<UnsyncedPart> parts = disk.unsynced();
  const std::size_t step = std::max<std::size_t>(1, parts.size() / 6);
  for (std::size_t i = seed % step; i < parts.size(); i += step) {
    plans.emplace_back("only " + std::to_string(i), keep_only(i));
    plans.emplace_back("all but " + std::to_string(i), keep_all_but(i));
    if (parts[i].kind == UnsyncedPart::Kind::kSector)
      plans.emplace_back("torn " + std::to_string(i), keep_torn(parts[i].write, parts[i].sector));
  }
  for (std::uint64_t k = 0; k < 4 && parts.size() > 1; ++k)
    plans.emplace_back("random " + std::to_string(seed + k), keep_random(seed + k));
  return plans;
}

void enumerate(SimOrder order, std::uint64_t first_seed, std::uint64_t seeds) {
  std::size_t crashes = 0;
  for (std::uint64_t seed = first_seed; seed < first_seed + seeds; ++seed) {
    for (std::uint64_t cut = 0;; ++cut) {
      SimDisk disk({}, {.seed = seed + cut, .order = order});
      disk.crash_after(cut);
      const Oracle oracle = work(disk, seed);
      for (auto& [name, plan] : plans_of(disk, cut)) {
        ++crashes;
        check_image(disk.crash(plan), oracle,
                    "seed " + std::to_string(seed) + " cut at call " + std::to_string(cut) +
                        ", keep " + name);
        if (testing::Test::HasFatalFailure()) return;
      }
      if (!disk.crashed()) break;
    }
  }
  std::printf("tried %zu crash points\n", crashes);
  EXPECT_GT(crashes, 1000U);
}

TEST(SegmentCrash, NothingDurableIsLostWhenWritesFinishInOrder) {
  enumerate(SimOrder::kFifo, 1, 40);
}

TEST(SegmentCrash, NothingDurableIsLostWhenWritesFinishInAnyOrder) {
  enumerate(SimOrder::kRandom, 101, 60);
}

}  // namespace
}  // namespace waybill
