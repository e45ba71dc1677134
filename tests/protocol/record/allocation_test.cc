// Goal: validation of an uncompressed batch allocates nothing, and lies about sizes are refused
// before memory is spent on them (S25). Method: the program's operator new counts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "protocol/base/limits.h"
#include "protocol/record/batch_view.h"
#include "protocol/record/compression.h"
#include "protocol/record/record_batch.h"
#include "tests/protocol/record/batch_bytes.h"

namespace {

struct Allocations {
  std::size_t count = 0;
  std::size_t largest = 0;
};
thread_local Allocations g_allocations;

}  // namespace

// Not inlined: g++ 12 would warn of malloc and delete, or of new and free, that do not match.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++g_allocations.count;
  g_allocations.largest = std::max(g_allocations.largest, size);
  if (void* memory = std::malloc(size != 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace waybill {
namespace {

template <class Action>
Allocations allocations_of(Action&& action) {
  g_allocations = {};
  action();
  return g_allocations;
}

ByteVector thousand_records() {
  std::vector<RecordDraft> drafts(1000, {.key = as_bytes("key"),
                                         .value = as_bytes("value"),
                                         .headers = {{"traceparent", as_bytes("00-ab")}},
                                         .timestamp = {1000}});
  return build_batch(drafts);
}

TEST(Allocations, AreSeenByThisTest) {
  Allocations seen = allocations_of([] { ByteVector bytes(12'345); });
  EXPECT_EQ(seen.count, 1U);
  EXPECT_EQ(seen.largest, 12'345U);
}

TEST(Allocations, ValidatingAnUncompressedBatchNeedsNone) {
  ByteVector batch = thousand_records();
  bool accepted = false;
  Allocations seen = allocations_of([&] { accepted = validate_batch(batch).ok(); });
  EXPECT_TRUE(accepted);
  EXPECT_EQ(seen.count, 0U);
}

TEST(Allocations, ReadingAnUncompressedBatchNeedsNone) {
  ByteVector batch = thousand_records();
  std::size_t headers = 0;
  Allocations seen = allocations_of([&] {
    Result<BatchReader> reader = BatchReader::open(batch);
    ignore_error(reader->for_each([&](const RecordView& record) {
      for (const HeaderView& header : record.headers) headers += header.key.size();
      return true;
    }),
                 "the sum below tells");
  });
  EXPECT_EQ(headers, 11'000U);
  EXPECT_EQ(seen.count, 0U);
}

TEST(Allocations, ABombIsRefusedWithinItsBound) {
  ByteVector zeros(limits::kMaxUncompressedBatch);
  for (Codec codec : {Codec::kGzip, Codec::kZstd}) {
    ByteVector bomb = compress(codec, zeros);
    constexpr std::size_t kBound = 1 << 20;
    Allocations seen = allocations_of([&] { EXPECT_FALSE(decompress(codec, bomb, kBound).ok()); });
    EXPECT_LE(seen.largest, kBound + 1) << name(codec);
  }
}

TEST(Allocations, ClaimedSizesThatCannotBeTrueCostNothing) {
  // A raw snappy block of four bytes that claims 30 MiB: within the bound, but impossible.
  ByteVector lie = bytes_of({0x80, 0x80, 0x80, 0x0f});
  Allocations seen = allocations_of(
      [&] { EXPECT_FALSE(decompress(Codec::kSnappy, lie, limits::kMaxUncompressedBatch).ok()); });
  EXPECT_LE(seen.largest, 4096U);
}

TEST(Allocations, RecordsThatClaimManyHeadersCostNothing) {
  // Two billion headers in a record of eleven bytes.
  ByteVector batch = raw_batch(bytes_of({20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f}));
  bool accepted = true;
  Allocations seen = allocations_of([&] { accepted = validate_batch(batch).ok(); });
  EXPECT_FALSE(accepted);
  EXPECT_EQ(seen.count, 0U);
}

}  // namespace
}  // namespace waybill
