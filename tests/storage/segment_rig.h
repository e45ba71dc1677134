// SegmentRig: a segment being written on a Disk, and what was written, so that a test says what it
// does in a line. Batches are make_batch's: the n-th record is n ms younger than the first.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/io/sim_disk.h"
#include "storage/segment_reader.h"
#include "storage/segment_writer.h"
#include "tests/storage/stored_batches.h"

namespace waybill {

inline constexpr const char* kSegmentDirectory = "shard-0/streams/0000000000000005";
inline constexpr SegmentId kSegment{.stream = StreamId{5}, .base = Offset{100}, .generation = 1};
/// The timestamp of offset 0, were it there.
inline constexpr std::int64_t kFirstTime = 1'000'000;

/// Until nothing moves any more.
inline void drain(Disk& disk) {
  while (disk.pending() > 0) {
    disk.submit();
    disk.wait();
  }
}

class SegmentRig {
 public:
  explicit SegmentRig(Disk& disk, SegmentId id = kSegment) : disk_(disk), id_(id) {}

  Result<void> create(DirectoryState state = DirectoryState::kUnknown) {
    Result<std::unique_ptr<SegmentWriter>> created =
        SegmentWriter::create(disk_, kSegmentDirectory, id_, state);
    if (!created) return created.error();
    writer = std::move(*created);
    return {};
  }
  /// A batch of `count` records at the end.
  void append(std::uint32_t count, std::size_t value_size = 20,
              SegmentFacts facts = SegmentFacts::kKeys) {
    const Offset base = writer->end();
    const WallTime time{kFirstTime + base.value};
    batches.push_back(make_batch(base, count, value_size, time));
    writer->append({.base = base,
                    .end = base + count,
                    .record_count = count,
                    .max_timestamp = WallTime{time.milliseconds + count - 1},
                    .facts = facts,
                    .bytes = batches.back()});
  }
  void flush() {
    writer->flush();
    drain(disk_);
  }
  void sync() {
    writer->flush();
    writer->sync();
    drain(disk_);
  }
  void seal() {
    writer->seal();
    drain(disk_);
  }
  [[nodiscard]] SegmentClaim claim() const {
    return {.position = writer->durable_position(), .end = writer->durable_end()};
  }

  std::unique_ptr<SegmentWriter> writer;
  std::vector<ByteVector> batches;

 private:
  Disk& disk_;
  SegmentId id_;
};

/// Reading, one call at a time.
class SegmentLook {
 public:
  explicit SegmentLook(Disk& disk, SegmentId id = kSegment,
                       std::optional<SegmentClaim> claim = std::nullopt)
      : disk_(disk),
        opened_(SegmentReader::open(disk, kSegmentDirectory, id, claim, &explanation)) {}

  [[nodiscard]] bool ok() const { return opened_.ok(); }
  [[nodiscard]] Error error() const { return opened_.error(); }
  [[nodiscard]] SegmentReader& reader() { return **opened_; }

  Result<std::vector<ByteVector>> read(Offset from, std::size_t max_bytes) {
    Result<std::vector<ByteVector>> all = Error{Errc::kClosed, 0, "not read"};
    reader().read(from, max_bytes, [&all](Result<std::vector<SharedBytes>> got) {
      if (!got) {
        all = got.error();
        return;
      }
      std::vector<ByteVector> copies;
      for (const SharedBytes& batch : *got) copies.push_back(to_vector(batch.view()));
      all = std::move(copies);
    });
    drain(disk_);
    return all;
  }
  Result<Offset> find_time(std::int64_t milliseconds) {
    Result<Offset> found = Error{Errc::kClosed, 0, "not found"};
    reader().find_time(WallTime{milliseconds}, [&found](Result<Offset> got) { found = got; });
    drain(disk_);
    return found;
  }
  /// Everything, read in steps.
  Result<std::vector<ByteVector>> read_all(std::size_t step = 1) {
    std::vector<ByteVector> all;
    for (Offset from = reader().id().base; from < reader().end();) {
      Result<std::vector<ByteVector>> some = read(from, step);
      if (!some) return some.error();
      if (some->empty()) break;
      for (ByteVector& batch : *some) all.push_back(std::move(batch));
      from = parse_batch_header(all.back())->last_offset() + 1;
    }
    return all;
  }

  std::string explanation;

 private:
  Disk& disk_;
  Result<std::unique_ptr<SegmentReader>> opened_;
};

}  // namespace waybill
