// Goal: no crash loses what was confirmed, nor invents what was not staged (S1, S3-S9).
// Method: small workloads over tiny files; the power fails at every disk call; for every class of
// subsets of what was not yet on the medium, recover, crash recovery itself, and go on.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "tests/storage/journal_rig.h"

namespace waybill {
namespace {

/// What the outside world knows: everything staged so far, in order, and how much was confirmed.
struct Oracle {
  std::vector<std::string> staged;
  std::vector<std::size_t> change_ends;  ///< sizes of `staged` between changes
  std::size_t confirmed = 0;
};

struct Workload {
  std::uint64_t seed = 1;
  std::size_t changes = 10;
  std::size_t max_in_flight = 4;
  bool close = false;
};

std::string body_of(std::uint64_t seed, std::size_t number, SeededRandom& random) {
  std::string body = "seed " + std::to_string(seed) + " entry " + std::to_string(number) + " ";
  const std::uint64_t kind = random.below(10);
  const std::size_t size = kind < 6 ? random.below(300) : kind < 9 ? random.below(4000) : 12'000;
  while (body.size() < size) body += static_cast<char>('a' + random.below(26));
  return body;
}

JournalOptions options_of(const Workload& workload) {
  JournalOptions options = small_journal();
  options.max_frames_in_flight = workload.max_in_flight;
  return options;
}

/// Checks what one recovery replayed, and makes it the past that the next run builds on.
void check_replayed(const JournalRig& rig, Oracle& oracle, const std::string& where) {
  const std::vector<std::string> found = rig.bodies();
  ASSERT_GE(found.size(), oracle.confirmed) << where << ": confirmed entries are lost";
  ASSERT_LE(found.size(), oracle.staged.size()) << where << ": entries were invented";
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i], oracle.staged[i]) << where << ": entry " << i + 1;
    ASSERT_EQ(rig.replayed[i].seq, i + 1) << where;
  }
  ASSERT_TRUE(found.empty() || std::ranges::count(oracle.change_ends, found.size()) == 1)
      << where << ": a change was split (S3)";
  oracle.staged.resize(found.size());
  std::erase_if(oracle.change_ends, [&](std::size_t end) { return end > found.size(); });
  oracle.confirmed = found.size();
}

/// Stages and writes until the workload is done or the disk is gone.
void work(JournalRig& rig, SimDisk& disk, const Workload& workload, Oracle& oracle) {
  SeededRandom random(workload.seed);
  Journal& journal = *rig.journal;
  for (std::size_t i = 0; i < workload.changes && !journal.poisoned(); ++i) {
    std::vector<std::string> bodies(1 + random.below(3));
    std::size_t size = 0;
    for (std::string& body : bodies) {
      body = body_of(workload.seed, oracle.staged.size() + (&body - bodies.data()), random);
      size += body.size();
    }
    while (!journal.poisoned() && journal.admit(size, false) != Admission::kAdmitted) {
      journal.pump();
      if (disk.pending() > 0) disk.wait();
    }
    if (journal.poisoned()) break;
    std::vector<EntryDraft> drafts;
    for (const std::string& body : bodies)
      drafts.push_back({.type = EntryType::kAppend, .head = as_bytes(body), .tail = {}});
    journal.stage(drafts);
    oracle.staged.insert(oracle.staged.end(), bodies.begin(), bodies.end());
    oracle.change_ends.push_back(oracle.staged.size());
    rig.clock.advance(std::chrono::milliseconds(5));
    if (random.below(3) != 0) journal.pump();
    if (random.below(4) == 0) disk.reap();
    if (random.below(5) == 0) rig.settle_all();
  }
  if (workload.close && !journal.poisoned()) {
    ignore_error(journal.close(), "the disk may be gone");
  } else {
    rig.settle();
  }
  oracle.confirmed = std::max<std::size_t>(oracle.confirmed, journal.durable().value);
}

/// One run over `image` whose power fails at call number `cut`. True if it came to its end.
bool run(SimDisk& disk, const Workload& workload, Oracle& oracle, const std::string& where) {
  JournalRig rig(disk, options_of(workload), workload.seed);
  if (Result<void> opened = rig.open(); !opened) {
    EXPECT_EQ(opened.error().code, Errc::kClosed) << where << ": " << rig.explanation;
    return false;
  }
  check_replayed(rig, oracle, where);
  if (testing::Test::HasFatalFailure()) return false;
  work(rig, disk, workload, oracle);
  return !disk.crashed();
}

/// Every class of what a crash may keep.
std::vector<std::pair<std::string, CrashPlan>> plans_of(const SimDisk& disk, std::uint64_t seed) {
  std::vector<std::pair<std::string, CrashPlan>> plans;
  plans.emplace_back("none", keep_none());
  plans.emplace_back("all", keep_all());
  const std::vector<UnsyncedPart> parts = disk.unsynced();
  const std::size_t step = std::max<std::size_t>(1, parts.size() / 5);
  for (std::size_t i = seed % step; i < parts.size(); i += step) {
    plans.emplace_back("only " + std::to_string(i), keep_only(i));
    plans.emplace_back("all but " + std::to_string(i), keep_all_but(i));
    if (parts[i].kind == UnsyncedPart::Kind::kSector)
      plans.emplace_back("torn " + std::to_string(i), keep_torn(parts[i].write, parts[i].sector));
  }
  for (std::uint64_t k = 0; k < 3 && parts.size() > 1; ++k)
    plans.emplace_back("random " + std::to_string(seed + k), keep_random(seed + k));
  return plans;
}

struct Counts {
  std::size_t crashes = 0;
  std::size_t recoveries = 0;
};

/// recover(recover(x)) == recover(x), and both hold what they must.
SimDiskImage recover_twice(const SimDiskImage& image, const Workload& workload, Oracle& oracle,
                           const std::string& where, Counts& counts) {
  SimDisk first(image);
  JournalRig rig(first, options_of(workload), 100);
  Result<void> opened = rig.open();
  EXPECT_TRUE(opened.ok()) << where << ": " << rig.explanation;
  if (!opened) return image;
  check_replayed(rig, oracle, where);
  const std::vector<Replayed> before = rig.replayed;
  const std::uint32_t start = rig.journal->start_number();
  rig.journal.reset();

  SimDisk second(first.crash(keep_none()));
  JournalRig again(second, options_of(workload), 101);
  EXPECT_TRUE(again.open().ok()) << where << ": " << again.explanation;
  if (!again.journal) return image;
  EXPECT_EQ(again.replayed, before) << where;
  EXPECT_GT(again.journal->start_number(), start) << where;
  again.journal.reset();
  counts.recoveries += 2;
  return second.crash(keep_none());
}

/// Crashes recovery of `image` at every call, and what comes then must be as good.
void crash_recovery(const SimDiskImage& image, const Workload& workload, const Oracle& oracle,
                    const std::string& where, Counts& counts) {
  Workload nothing = workload;
  nothing.changes = 0;
  for (std::uint64_t cut = 0;; ++cut) {
    Oracle known = oracle;
    SimDisk disk(image);
    disk.crash_after(cut);
    const bool finished = run(disk, nothing, known, where);
    ++counts.crashes;
    const CrashPlan plan = cut % 3 == 0   ? keep_none()
                           : cut % 3 == 1 ? keep_all()
                                          : keep_random(cut + workload.seed);
    recover_twice(disk.crash(plan), workload, known,
                  where + ", recovery cut at " + std::to_string(cut), counts);
    if (testing::Test::HasFailure() || finished) return;
  }
}

/// Two further generations of traffic and crash over an image (S9).
void live_on(SimDiskImage image, const Workload& workload, Oracle oracle, std::uint64_t seed,
             const std::string& where, Counts& counts) {
  SeededRandom random(seed);
  for (int generation = 2; generation <= 3; ++generation) {
    const std::string now = where + ", generation " + std::to_string(generation);
    SimDisk disk(image, {.seed = seed, .order = SimOrder::kRandom});
    Workload next = workload;
    next.seed = seed * 10 + generation;
    next.changes = 4;
    disk.crash_after(8 + random.below(20));
    run(disk, next, oracle, now);
    if (testing::Test::HasFailure()) return;
    ++counts.crashes;
    image = disk.crash(keep_random(random.next()));
  }
  recover_twice(image, workload, oracle, where + ", at last", counts);
}

void enumerate(const Workload& workload, SimOrder order, Counts& counts) {
  for (std::uint64_t cut = 0;; ++cut) {
    Oracle oracle;
    SimDisk disk({}, {.seed = workload.seed + cut, .order = order});
    disk.crash_after(cut);
    const std::string point =
        "workload " + std::to_string(workload.seed) + " cut at call " + std::to_string(cut);
    const bool finished = run(disk, workload, oracle, point);
    std::size_t number = 0;
    for (auto& [name, plan] : plans_of(disk, cut)) {
      const std::string where = point + ", keep " + name;
      const SimDiskImage image = disk.crash(plan);
      ++counts.crashes;
      Oracle known = oracle;
      recover_twice(image, workload, known, where, counts);
      if (testing::Test::HasFailure()) return;
      if ((cut + number) % 5 == 0) crash_recovery(image, workload, oracle, where, counts);
      if ((cut + number) % 3 == 0)
        live_on(image, workload, oracle, cut * 31 + number, where, counts);
      if (testing::Test::HasFailure()) return;
      ++number;
    }
    if (finished) return;
  }
}

void enumerate_and_print(std::vector<Workload> workloads, SimOrder order) {
  Counts counts;
  for (const Workload& workload : workloads) {
    enumerate(workload, order, counts);
    if (testing::Test::HasFailure()) return;
  }
  std::printf("tried %zu crash points, recovered %zu times\n", counts.crashes, counts.recoveries);
  EXPECT_GT(counts.crashes, 1000U);
}

TEST(JournalCrash, NothingConfirmedIsLostWithOneFrameInFlight) {
  enumerate_and_print({{.seed = 1, .changes = 12, .max_in_flight = 1, .close = true}},
                      SimOrder::kFifo);
}

TEST(JournalCrash, NothingConfirmedIsLostWithFourFramesInFlightDoneInAnyOrder) {
  enumerate_and_print({{.seed = 2, .changes = 12, .max_in_flight = 4},
                       {.seed = 3, .changes = 24, .max_in_flight = 4, .close = true},
                       {.seed = 4, .changes = 8, .max_in_flight = 2}},
                      SimOrder::kRandom);
}

}  // namespace
}  // namespace waybill
