// The parts that every message passes, each alone: checksums, the batch encoder and its readers,
// frames of the wire, the journal and its group commit, the index of keys, the catalog. An item is
// a message, a frame, an entry or a lookup, whatever the part works on. bench/micro prints the
// table.
#include <benchmark/benchmark.h>

#include <string>
#include <string_view>

#include "bench/engine_world.h"
#include "broker/core/key_scheduler.h"
#include "protocol/base/checksum.h"
#include "protocol/model/catalog.h"
#include "protocol/record/batch_view.h"
#include "protocol/record/record_batch.h"
#include "protocol/wire/codec.h"
#include "protocol/wire/frame.h"
#include "storage/journal.h"

namespace waybill {
namespace {

using benchmark::DoNotOptimize;

constexpr std::size_t kBatchRecords = 500;
constexpr std::int64_t kKeys = 10'000;
constexpr std::size_t kTopics = 1000;

void set_rates(benchmark::State& state, std::size_t items, std::size_t item_size) {
  const std::int64_t count = state.iterations() * static_cast<std::int64_t>(items);
  state.SetItemsProcessed(count);
  if (item_size > 0) state.SetBytesProcessed(count * static_cast<std::int64_t>(item_size));
}

// --- checksums ---

template <class Checksum>
void checksum(benchmark::State& state, Checksum checksum_of) {
  const ByteVector bytes(static_cast<std::size_t>(state.range(0)), std::byte{0x5a});
  for (auto _ : state) DoNotOptimize(checksum_of(bytes));
  set_rates(state, 1, bytes.size());
}
BENCHMARK_CAPTURE(checksum, crc32c, [](Bytes bytes) { return crc32c(bytes); })
    ->Arg(4096)
    ->Arg(1 << 20);
BENCHMARK_CAPTURE(checksum, xxh3, [](Bytes bytes) { return xxh3_64(bytes); })
    ->Arg(4096)
    ->Arg(1 << 20);

// --- batches ---

/// Into memory that is used again and again, as publishers do.
void encode(BatchBuilder& builder, Bytes value, bool keyed, ByteVector& batch) {
  for (std::size_t i = 0; i < kBatchRecords; ++i) {
    RecordDraft record;
    const std::string key = keyed ? "key-" + std::to_string(i) : "";
    if (keyed) record.key = as_bytes(key);
    record.value = value;
    if (!builder.add(record)) give_up("the batch cannot be built");
  }
  batch = builder.build();
}

ByteVector value_of(const benchmark::State& state) {
  return ByteVector(static_cast<std::size_t>(state.range(0)), std::byte{0x5a});
}

ByteVector batch_of(Bytes value, bool keyed = false) {
  BatchBuilder builder;
  ByteVector batch;
  encode(builder, value, keyed, batch);
  return batch;
}

void batch_encode(benchmark::State& state) {
  const ByteVector value = value_of(state);
  BatchBuilder builder;
  ByteVector batch;
  for (auto _ : state) {
    encode(builder, value, false, batch);
    DoNotOptimize(batch.data());
  }
  set_rates(state, kBatchRecords, value.size());
}

void batch_validate(benchmark::State& state) {
  const ByteVector batch = batch_of(value_of(state));
  for (auto _ : state) DoNotOptimize(validate_batch(batch).ok());
  set_rates(state, kBatchRecords, static_cast<std::size_t>(state.range(0)));
}

void batch_read(benchmark::State& state, bool keyed) {
  const ByteVector batch = batch_of(value_of(state), keyed);
  for (auto _ : state) {
    Result<BatchReader> reader = BatchReader::open(batch);
    Result<void> read = reader->for_each([](const RecordView& record) {
      DoNotOptimize(record.value->data());
      return true;
    });
    if (!read) give_up("the batch cannot be read");
  }
  set_rates(state, kBatchRecords, static_cast<std::size_t>(state.range(0)));
}
BENCHMARK(batch_encode)->Arg(16)->Arg(1024);
BENCHMARK(batch_validate)->Arg(16)->Arg(1024);
BENCHMARK_CAPTURE(batch_read, no_keys, false)->Arg(16)->Arg(1024);
BENCHMARK_CAPTURE(batch_read, keys, true)->Arg(16)->Arg(1024);

// --- frames: publish requests of 500 messages of 100 B ---

PublishRequest publish_request() {
  PublishPart part;
  part.topic = {7};
  part.producer = ProducerStamp{.id = {}, .previous = 1, .base_sequence = 2};
  part.batch = SharedBytes(batch_of(ByteVector(100, std::byte{0x5a})));
  PublishRequest request;
  request.parts.push_back(std::move(part));
  return request;
}

void frame_encode(benchmark::State& state) {
  const PublishRequest request = publish_request();
  for (auto _ : state) DoNotOptimize(encode_request(1, request).size());
  set_rates(state, 1, 0);
}

/// Taken off the stream as a socket would bring it.
void frame_decode(benchmark::State& state) {
  const OutFrame out = encode_request(1, publish_request());
  ByteVector bytes = out.head;
  for (const SharedBytes& piece : out.body) {
    bytes.insert(bytes.end(), piece.view().begin(), piece.view().end());
  }
  for (auto _ : state) {
    FrameDecoder decoder(rules_after_hello(kMaxProtocolVersion));
    Bytes rest = bytes;
    std::optional<Frame> whole;
    while (!whole) {
      Result<std::optional<Frame>> frame = decoder.next();
      if (!frame) give_up("the frame cannot be read");
      if (*frame) {
        whole = std::move(*frame);
        break;
      }
      const MutableBytes room = decoder.prepare();
      const std::size_t size = std::min(room.size(), rest.size());
      std::copy_n(rest.begin(), size, room.begin());
      rest = rest.subspan(size);
      decoder.commit(size);
    }
    DoNotOptimize(decode_as<PublishRequest>(*whole).ok());
  }
  set_rates(state, 1, bytes.size());
}
BENCHMARK(frame_encode);
BENCHMARK(frame_decode);

// --- the journal, over a disk that keeps nothing ---

/// Entries of the first argument's size, as many in each commit as the second says: what a busy
/// loop turn brings, and what an idle one does.
void journal_commit(benchmark::State& state) {
  const ByteVector body = value_of(state);
  const std::int64_t together = state.range(1);
  NullDisk disk;
  ManualClock clock;
  SeededRandom random(1);
  std::string explanation;
  auto journal = Journal::recover(
      disk, clock, random, {.directory = "journal", .shard = {0}, .base = {}},
      [](const EntryView&, const StagedEntry&) { return Result<void>(); }, &explanation);
  if (!journal || !(*journal)->start(&explanation)) give_up(explanation);
  const EntryDraft draft{.type = EntryType::kAppend, .head = {}, .tail = body};
  for (auto _ : state) {
    for (std::int64_t i = 0; i < together; ++i) (*journal)->stage({&draft, 1});
    while ((*journal)->durable() < (*journal)->staged()) {
      (*journal)->pump();
      disk.reap();
    }
    (*journal)->release_before((*journal)->current_file());
  }
  set_rates(state, static_cast<std::size_t>(together), body.size());
}
BENCHMARK(journal_commit)->ArgsProduct({{100, 1024, 64 * 1024}, {1, 256}});

// --- the index of keys ---

/// A message comes, goes first of its key, and is settled, while nine others of its key wait.
void key_index(benchmark::State& state) {
  KeyScheduler scheduler(1'000'000);
  SeededRandom random(1);
  std::int64_t next = 0;
  auto add = [&] {
    const KeyHash key = (random.below(kKeys) + 1) * 0x9E3779B97F4A7C15;
    scheduler.add(Offset{next++}, key, {});
  };
  for (std::int64_t i = 0; i < 10 * kKeys; ++i) add();
  for (auto _ : state) {
    add();
    scheduler.settled(*scheduler.take());
  }
  set_rates(state, 1, 0);
}
BENCHMARK(key_index);

// --- the catalog ---

Catalog catalog_of_topics() {
  Catalog catalog;
  for (std::size_t i = 1; i <= kTopics; ++i) {
    TopicInfo topic;
    topic.id = {i};
    topic.name = "topic-" + std::to_string(i);
    topic.partitions.resize(8);
    catalog.topics.push_back(std::move(topic));
  }
  return catalog;
}

void catalog_by_id(benchmark::State& state) {
  const Catalog catalog = catalog_of_topics();
  SeededRandom random(1);
  for (auto _ : state) DoNotOptimize(catalog.topic(TopicId{random.below(kTopics) + 1}));
  set_rates(state, 1, 0);
}

void catalog_by_name(benchmark::State& state) {
  const Catalog catalog = catalog_of_topics();
  SeededRandom random(1);
  for (auto _ : state) {
    const std::string& name = catalog.topics[random.below(kTopics)].name;
    DoNotOptimize(catalog.topic(std::string_view(name)));
  }
  set_rates(state, 1, 0);
}
BENCHMARK(catalog_by_id);
BENCHMARK(catalog_by_name);

}  // namespace
}  // namespace waybill

BENCHMARK_MAIN();
