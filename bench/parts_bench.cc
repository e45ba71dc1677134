// The parts that every message passes, each alone, as one table: checksums, the batch encoder and
// its readers, frames of the wire, the journal and its group commit, the catalog. Nanoseconds are
// of CPU time of the one thread, of the quickest of some rounds.
//
//   parts_bench [ROUNDS]      5 if not said
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>

#include "bench/null_disk.h"
#include "protocol/base/checksum.h"
#include "protocol/base/random.h"
#include "protocol/model/catalog.h"
#include "protocol/record/batch_builder.h"
#include "protocol/record/batch_view.h"
#include "protocol/record/record_batch.h"
#include "protocol/wire/codec.h"
#include "protocol/wire/frame.h"
#include "storage/journal.h"

namespace waybill {
namespace {

constexpr std::size_t kBatchRecords = 500;
constexpr int kTopics = 1000;
/// Entries staged between two pumps: what a busy loop turn brings, and what an idle one does.
constexpr int kEntriesTogether = 256;

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "benchmark: %s\n", what.c_str());
  std::exit(1);
}

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// So that the compiler may not leave out what nobody looks at.
template <class T>
void keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

class Table {
 public:
  explicit Table(int rounds) : rounds_(rounds) {}

  /// `function` does `things` things of `bytes` bytes each, once per call.
  template <class Function>
  void row(const char* what, std::size_t things, std::size_t bytes, Function function) const {
    constexpr double kRound = 0.05;  // seconds; long enough for the clock
    double best = 1e9;
    for (int round = 0; round < rounds_; ++round) {
      std::size_t calls = 0;
      double begin = cpu_seconds();
      double taken = 0;
      while (taken < kRound) {
        function();
        ++calls;
        taken = cpu_seconds() - begin;
      }
      best = std::min(best, taken / static_cast<double>(calls * things));
    }
    std::printf("  %-50s %10.1f ns", what, best * 1e9);
    if (bytes > 0) std::printf(" %8.2f GB/s", static_cast<double>(bytes) / best * 1e-9);
    std::printf("\n");
    std::fflush(stdout);
  }

 private:
  int rounds_;
};

ByteVector batch_of(std::size_t value_size, bool keyed = false) {
  BatchBuilder builder;
  ByteVector value(value_size, std::byte{0x5a});
  for (std::size_t i = 0; i < kBatchRecords; ++i) {
    std::string key = keyed ? "key-" + std::to_string(i) : "";
    RecordDraft record;
    if (keyed) record.key = as_bytes(key);
    record.value = value;
    if (!builder.add(record)) give_up("the batch cannot be built");
  }
  return builder.build();
}

void run_checksums(const Table& table) {
  std::printf("Checksums, of 4 KiB and of 1 MiB\n");
  for (std::size_t size : {std::size_t{4096}, std::size_t{1024 * 1024}}) {
    ByteVector bytes(size, std::byte{0x5a});
    table.row("CRC-32C", 1, size, [&] { keep(crc32c(bytes)); });
    table.row("XXH3-64", 1, size, [&] { keep(xxh3_64(bytes)); });
  }
}

void run_batches(const Table& table, std::size_t size) {
  std::printf("Batches of %zu messages of %zu B, for each message\n", kBatchRecords, size);
  ByteVector batch = batch_of(size);
  ByteVector keyed = batch_of(size, true);
  table.row("encode", kBatchRecords, size, [&] { keep(batch_of(size)); });
  table.row("validate, checksum included", kBatchRecords, size,
            [&] { keep(validate_batch(batch).ok()); });
  auto read = [](Bytes bytes) {
    Result<BatchReader> reader = BatchReader::open(bytes);
    std::size_t sum = 0;
    ignore_error(reader->for_each([&](const RecordView& record) {
      sum += record.value->size();
      return true;
    }),
                 "it was built here");
    keep(sum);
  };
  table.row("read", kBatchRecords, size, [&] { read(batch); });
  table.row("read, with keys", kBatchRecords, size, [&] { read(keyed); });
}

void run_frames(const Table& table) {
  std::printf("Frames, each a publish request of 500 messages of 100 B\n");
  PublishRequest request;
  PublishPart part;
  part.topic = {7};
  part.producer = ProducerStamp{.id = {}, .previous = 1, .base_sequence = 2};
  part.batch = SharedBytes(batch_of(100));
  request.parts.push_back(part);
  table.row("encode", 1, 0, [&] { keep(encode_request(1, request).size()); });
  OutFrame out = encode_request(1, request);
  ByteVector bytes = out.head;
  for (const SharedBytes& piece : out.body) {
    bytes.insert(bytes.end(), piece.view().begin(), piece.view().end());
  }
  table.row("take off the stream and decode", 1, 0, [&] {
    FrameDecoder decoder(rules_after_hello(kMaxProtocolVersion));
    Bytes rest = bytes;
    for (;;) {
      Result<std::optional<Frame>> frame = decoder.next();
      if (!frame) give_up("the frame cannot be read");
      if (*frame) {
        keep(decode_as<PublishRequest>(**frame).ok());
        return;
      }
      MutableBytes room = decoder.prepare();
      std::size_t size = std::min(room.size(), rest.size());
      std::copy_n(rest.begin(), size, room.begin());
      rest = rest.subspan(size);
      decoder.commit(size);
    }
  });
}

void run_journal(const Table& table) {
  std::printf("The journal over a disk that keeps nothing, for each entry\n");
  for (std::size_t size : {std::size_t{100}, std::size_t{1024}, std::size_t{64 * 1024}}) {
    NullDisk disk;
    ManualClock clock;
    SeededRandom random(1);
    std::string explanation;
    auto journal = Journal::open(
        disk, clock, random, {.directory = "journal", .shard = {0}, .base = {}},
        [](const EntryView&, const StagedEntry&) { return Result<void>(); }, &explanation);
    if (!journal) give_up(explanation);
    ByteVector body(size, std::byte{0x5a});
    EntryDraft draft{.type = EntryType::kAppend, .head = {}, .tail = body};
    auto commit = [&](int entries) {
      for (int i = 0; i < entries; ++i) (*journal)->stage({&draft, 1});
      while ((*journal)->durable() < (*journal)->staged()) {
        (*journal)->pump();
        disk.reap();
      }
      (*journal)->release_before((*journal)->current_file());
    };
    std::string what = std::to_string(size) + " B: ";
    table.row((what + "256 committed together").c_str(), kEntriesTogether, size,
              [&] { commit(kEntriesTogether); });
    table.row((what + "each committed alone").c_str(), 1, size, [&] { commit(1); });
  }
}

void run_catalog(const Table& table) {
  std::printf("A catalog of %d topics\n", kTopics);
  Catalog catalog;
  for (int i = 0; i < kTopics; ++i) {
    TopicInfo topic;
    topic.id = {static_cast<std::uint32_t>(i + 1)};
    topic.name = "topic-" + std::to_string(i);
    topic.partitions.resize(8);
    catalog.topics.push_back(std::move(topic));
  }
  SeededRandom random(1);
  table.row("topic by id", 1, 0, [&] {
    keep(catalog.topic(TopicId{static_cast<std::uint32_t>(random.below(kTopics) + 1)}));
  });
  table.row("topic by name", 1, 0, [&] {
    keep(catalog.topic(std::string_view(catalog.topics[random.below(kTopics)].name)));
  });
}

}  // namespace
}  // namespace waybill

int main(int argc, char** argv) {
  int rounds = 5;
  if (argc > 1) {
    std::string_view text(argv[1]);
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rounds);
    bool whole = error == std::errc() && end == text.data() + text.size();
    if (argc > 2 || !whole || rounds < 1) waybill::give_up("usage: parts_bench [ROUNDS]");
  }
  waybill::Table table(rounds);
  waybill::run_checksums(table);
  for (std::size_t size : {std::size_t{16}, std::size_t{1024}}) waybill::run_batches(table, size);
  waybill::run_frames(table);
  waybill::run_journal(table);
  waybill::run_catalog(table);
}
