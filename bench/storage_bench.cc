// What storage costs beside the raw device: one shard on a real directory, driven in one thread,
// without sockets. Run it by bench/storage, which says what is wanted.
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <string_view>

#include "bench/engine_world.h"
#include "protocol/record/record_batch.h"
#include "storage/checkpoint_reader.h"
#include "storage/io/disk_engine.h"
#include "storage/segment_format.h"
#include "storage/stream_object.h"
#include "storage/superblock.h"
#include "storage/sync_probe.h"

namespace waybill {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;
constexpr std::size_t kRecord = 1024;
constexpr int kRecordsPerBatch = 64;

void row(const std::string& what, const std::string& value, const char* wanted = "") {
  std::printf("  %-66s %14s  %s\n", what.c_str(), value.c_str(), wanted);
  std::fflush(stdout);
}
std::string number(double value, const char* format = "%.2f") {
  char text[48];
  std::snprintf(text, sizeof text, format, value);
  return text;
}
double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}
/// A line of /proc/self/<file>, in its own unit.
double of_process(const char* file, std::string_view name) {
  std::ifstream lines(std::string("/proc/self/") + file);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name)) return std::strtod(line.c_str() + name.size(), nullptr);
  }
  return 0;
}
double resident_mib() {
  return of_process("status", "VmRSS:") / 1024;
}

SharedBytes batch_of(int records, std::size_t size) {
  BatchBuilder builder;
  // Not compressible, as far as anything here would try.
  std::string value(size, 'x');
  SeededRandom random(7);
  for (char& c : value) c = static_cast<char>(random.below(256));
  for (int i = 0; i < records; ++i) {
    if (!builder.add({std::nullopt, as_bytes(value), {}, {1000}}).ok()) give_up("batch");
  }
  return SharedBytes(builder.build());
}

/// One shard in a directory of its own, that goes with it.
class DiskWorld {
 public:
  DiskWorld(std::filesystem::path path, ShardOptions options)
      : path_(std::move(path)), options_(options) {
    std::filesystem::create_directories(path_ / "shard-0");
    open();
  }
  ~DiskWorld() {
    close();
    std::filesystem::remove_all(path_);
  }
  DiskWorld(const DiskWorld&) = delete;
  DiskWorld& operator=(const DiskWorld&) = delete;

  /// Seconds until it serves. What is in flight is abandoned first, as if it were killed.
  double reopen() {
    close();
    const auto begin = std::chrono::steady_clock::now();
    open();
    return seconds_since(begin);
  }

  template <class R, class Request>
  R call(Request request) {
    std::optional<Reply<R>> answer;
    client_->session().handle(std::move(request),
                              Done<R>([&](Reply<R> reply) { answer.emplace(std::move(reply)); }));
    while (!answer) step();
    if (!*answer) give_up(to_string(answer->error()));
    return std::move(**answer);
  }
  TopicId create_topic(std::uint32_t partitions) {
    return call<CreateTopicReply>(CreateTopicRequest{"orders", partitions}).topic.id;
  }

  /// One turn of the loop; waits if nothing else is to be done.
  void step() {
    run_mail();
    shard_->turn();
    disk_->submit();
    if (mailbox_.calls.empty() && disk_->pending() > 0) disk_->wait();
  }
  /// The same without waiting.
  void poll() {
    run_mail();
    shard_->turn();
    disk_->submit();
    disk_->reap();
  }
  void until_idle(double seconds) {
    const auto begin = std::chrono::steady_clock::now();
    while (disk_->pending() > 0 && seconds_since(begin) < seconds) step();
  }

  ClientSession& session() { return client_->session(); }
  Disk& disk() { return *disk_; }
  RecoveryReport report;

 private:
  void open() {
    std::string explanation;
    Result<std::unique_ptr<Disk>> disk = open_disk(path_.string(), DiskEngine::kAuto, &explanation);
    if (!disk) give_up(explanation);
    disk_ = std::move(*disk);
    auto shard =
        recover_shard({*disk_, clock_, random_, mailbox_}, options_, &report, &explanation);
    if (!shard || !(*shard)->start(&explanation)) give_up(explanation);
    shard_ = std::move(*shard);
    gateway_ = std::make_unique<Gateway>(*shard_, mailbox_);
    bool ready = false;
    shard_->start_catalog([&ready] { ready = true; });
    while (!ready) step();
    client_ = std::make_unique<BenchClient>(*gateway_, 1);
  }
  void close() {
    client_.reset();
    gateway_.reset();
    mailbox_.calls.clear();
    shard_.reset();
    disk_.reset();
  }
  void run_mail() {
    while (!mailbox_.calls.empty()) {
      Mailbox::Call call = std::move(mailbox_.calls.front());
      mailbox_.calls.pop_front();
      call(*shard_);
    }
  }

  std::filesystem::path path_;
  ShardOptions options_;
  SystemClock clock_;
  SeededRandom random_{1};
  std::unique_ptr<Disk> disk_;
  QueueMailbox mailbox_;
  std::unique_ptr<Shard> shard_;
  std::unique_ptr<Gateway> gateway_;
  std::unique_ptr<BenchClient> client_;
};

/// Keeps `depth` publishes under way until `bytes` are confirmed or the time is over.
struct Load {
  std::uint32_t partitions = 16;
  std::size_t depth = 16;
  double bytes = 1e18;
  double seconds = 20;
};
struct Measured {
  double bytes = 0;
  double seconds = 0;
  std::vector<double> latencies;  ///< in ms
  double resident = 0;            ///< the most, in MiB
};
class Publisher {
 public:
  Publisher(DiskWorld& world, TopicId topic, SharedBytes batch, const Load& load)
      : world_(world), topic_(topic), batch_(std::move(batch)), load_(load) {}

  Measured run() {
    const auto begin = std::chrono::steady_clock::now();
    for (int turn = 0;; ++turn) {
      const bool over = measured_.bytes >= load_.bytes || seconds_since(begin) >= load_.seconds;
      if (over && under_way_ == 0) break;
      while (!over && under_way_ < load_.depth) publish();
      world_.step();
      if (turn % 256 == 0) measured_.resident = std::max(measured_.resident, resident_mib());
    }
    measured_.seconds = seconds_since(begin);
    std::ranges::sort(measured_.latencies);
    return std::move(measured_);
  }

 private:
  void publish() {
    PublishRequest request;
    const PartitionIndex to{static_cast<std::uint32_t>(random_.below(load_.partitions))};
    request.parts.push_back({topic_, to, {}, {}, batch_});
    ++under_way_;
    const auto begin = std::chrono::steady_clock::now();
    world_.session().handle(std::move(request), Done<PublishReply>([this, begin](auto reply) {
                              --under_way_;
                              if (!reply) give_up(to_string(reply.error()));
                              const auto& part = reply->parts.front();
                              if (!part && part.error() == Errc::kOverloaded) return;
                              if (!part) give_up(to_string(part.error()));
                              measured_.bytes += static_cast<double>(batch_.size());
                              measured_.latencies.push_back(1000 * seconds_since(begin));
                            }));
  }

  DiskWorld& world_;
  TopicId topic_;
  SharedBytes batch_;
  Load load_;
  SeededRandom random_{3};
  std::size_t under_way_ = 0;
  Measured measured_;
};

/// Of sorted ones.
double percentile(const std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  return sorted[static_cast<std::size_t>(part * static_cast<double>(sorted.size() - 1))];
}

// --- the parts ---

/// Durable bandwidth of 1 MiB writes at the best depth, in MiB/s.
struct Device {
  double old_file = 0;  ///< into one that was written before, as the journal's
  double new_file = 0;  ///< into one that grows, as segments do: what stays can be no quicker
  double both = 0;      ///< each MiB into the one and then into the other, counted once
};

/// Writes 1 GiB into each of the files, 1 MiB at a time and in turns, and starts again in the first
/// where it ends.
class RawWriter {
 public:
  RawWriter(Disk& disk, std::vector<FileHandle> files, std::size_t depth)
      : disk_(disk), files_(std::move(files)), depth_(depth) {}

  /// MiB/s of one of them.
  double run() {
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < depth_; ++i) write_next();
    disk_.submit();
    while (disk_.pending() > 0) {
      disk_.wait();
      disk_.submit();
    }
    return kEach / seconds_since(begin);
  }

 private:
  static constexpr std::size_t kEach = 1024;  ///< MiB

  void write_next() {
    if (begun_ == kEach * files_.size()) return;
    const FileHandle file = files_[begun_ % files_.size()];
    const std::uint64_t position = begun_ / files_.size() * data_.size();
    ++begun_;
    disk_.write(file, position, data_.bytes(), Durability::kDurable, [this](auto done) {
      if (!done) give_up(to_string(done.error()));
      write_next();
    });
  }

  Disk& disk_;
  std::vector<FileHandle> files_;
  std::size_t depth_;
  AlignedMemory data_{1024 * 1024};
  std::size_t begun_ = 0;
};

/// The second and third of Device.
void raw_files(const std::filesystem::path& directory, Device& device) {
  std::string explanation;
  Result<std::unique_ptr<Disk>> disk =
      open_disk(directory.string(), DiskEngine::kAuto, &explanation);
  if (!disk) give_up(explanation);
  // Without a name from the start: nothing stays behind.
  auto new_file = [&] {
    Result<FileHandle> file = (*disk)->open("raw", OpenMode::kCreate);
    if (!file) give_up(to_string(file.error()));
    if (auto removed = (*disk)->remove("raw"); !removed) give_up(to_string(removed.error()));
    return std::make_unique<OpenFile>(**disk, *file);
  };
  const auto old_file = new_file();
  RawWriter(**disk, {old_file->handle()}, 4).run();
  for (const std::size_t depth : {1, 4, 16}) {
    const auto alone = new_file();
    const double one = RawWriter(**disk, {alone->handle()}, depth).run();
    const auto beside = new_file();
    const double both = RawWriter(**disk, {old_file->handle(), beside->handle()}, depth).run();
    row("1024 KiB, " + std::to_string(depth) + " in flight, a new file; and an old one first",
        number(one, "%.0f, ") + number(both, "%.0f MiB/s"));
    device.new_file = std::max(device.new_file, one);
    device.both = std::max(device.both, both);
  }
}

Device raw_device(const std::filesystem::path& directory) {
  std::printf("The device: writes of the broker's kind (O_DIRECT + DSYNC)\n");
  Result<ProbeReport> report = probe_directory(directory.string(), SystemClock(), {}, [](auto&) {});
  if (!report) give_up(to_string(report.error()));
  Device device;
  for (const ProbeResult& result : report->results) {
    if (result.method != SyncMethod::kDirectDsync) continue;
    const double bandwidth = result.bytes_per_second / kMiB;
    if (result.write_size > 4096) device.old_file = std::max(device.old_file, bandwidth);
    row(std::to_string(result.write_size / 1024) + " KiB, " + std::to_string(result.depth) +
            " in flight: median, bandwidth",
        number(std::chrono::duration<double, std::milli>(result.median).count(), "%.3f ms, ") +
            number(bandwidth, "%.0f MiB/s"));
  }
  raw_files(directory, device);
  row("engine: " + report->engine, "");
  return device;
}

ShardOptions with_memory(std::uint64_t mib) {
  ShardOptions options;
  divide_memory(mib * 1024 * 1024, options);
  return options;
}

/// As a shard of two has by default, on a machine with 4 GiB or more.
ShardOptions options_of_half() {
  return with_memory(512);
}

struct Appends {
  Measured first;  ///< while each partition gets its directory and its first segment
  Measured later;
};

Appends append_some(const std::filesystem::path& directory, std::uint32_t partitions) {
  DiskWorld world(directory / "append", options_of_half());
  const TopicId topic = world.create_topic(partitions);
  const SharedBytes batch = batch_of(1, kRecord);
  auto publish = [&](double seconds) {
    return Publisher(world, topic, batch, {.partitions = partitions, .seconds = seconds}).run();
  };
  publish(1);
  Measured first = publish(4);
  publish(5);
  return {std::move(first), publish(4)};
}

/// Of some runs, the middle one of each percentile.
double middle(const std::vector<Appends>& runs, Measured Appends::* part, double percent) {
  std::vector<double> values;
  for (const Appends& run : runs) values.push_back(percentile((run.*part).latencies, percent));
  std::ranges::sort(values);
  return values[values.size() / 2];
}

void appends(const std::filesystem::path& directory) {
  std::printf("Durable appends of 1 KiB, 16 under way: medians of three runs, in turns\n");
  std::vector<Appends> few;
  std::vector<Appends> many;
  for (int i = 0; i < 3; ++i) {
    few.push_back(append_some(directory, 16));
    many.push_back(append_some(directory, 5000));
  }
  auto report = [&](const std::string& when, Measured Appends::* part) {
    auto latencies = [&](const std::vector<Appends>& runs) {
      return number(middle(runs, part, 0.5), "%.3f / ") +
             number(middle(runs, part, 0.99), "%.3f ms");
    };
    row("16 partitions, " + when + ": p50 / p99", latencies(few));
    row("5 000 partitions, " + when + ": p50 / p99", latencies(many));
    row("  ratio of the p50", number(middle(many, part, 0.5) / middle(few, part, 0.5)), "<= 1.3");
  };
  report("their first segments", &Appends::first);
  report("later", &Appends::later);
}

/// The best that the device does, so that all else can be set against it.
std::string share(double bandwidth, double device) {
  return device > 0 ? number(100 * bandwidth / device, "%.0f %%") : "not measured";
}

void sustained(const std::filesystem::path& directory, const Device& device) {
  std::printf("Durable appends of 64 KiB (64 records of 1 KiB), 20 s\n");
  for (const std::size_t depth : {32, 128}) {
    DiskWorld world(directory / "sustained", options_of_half());
    const TopicId topic = world.create_topic(16);
    const double before = of_process("io", "write_bytes:");
    const Measured measured =
        Publisher(world, topic, batch_of(kRecordsPerBatch, kRecord), {.depth = depth}).run();
    const double bandwidth = measured.bytes / kMiB / measured.seconds;
    const double written = (of_process("io", "write_bytes:") - before) / kMiB / measured.seconds;
    row(std::to_string(depth) + " under way", number(bandwidth, "%.0f MiB/s"));
    row("  of the device's 1 MiB writes into a new file", share(bandwidth, device.new_file),
        ">= 50 %");
    row("  of the same into an old file", share(bandwidth, device.old_file));
    row("  of the same into an old file and then a new one", share(bandwidth, device.both));
    row("  all that is written (journal, segments), of an old file's",
        share(written, device.old_file));
    row("  bytes written to the device for each byte published", number(written / bandwidth));
    row("  median until durable", number(percentile(measured.latencies, 0.5), "%.2f ms"));
  }
}

// --- a slow reader ---

/// One client that reads a partition from the beginning, over and over, 256 KiB at a time.
class Replay {
 public:
  Replay(DiskWorld& world, TopicId topic, PartitionIndex partition)
      : world_(world), topic_(topic), partition_(partition) {}

  void go_on() {
    if (waits_) return;
    ReadRequest request;
    request.topic = topic_;
    request.partition = partition_;
    request.from = next_;
    request.max_bytes = 256 * 1024;
    waits_ = true;
    world_.session().handle(request, Done<ReadReply>([this](auto reply) {
                              waits_ = false;
                              if (!reply) give_up(to_string(reply.error()));
                              if (reply->batches.empty()) next_ = {};
                              for (const SharedBytes& batch : reply->batches) {
                                bytes += static_cast<double>(batch.size());
                                next_ = parse_batch_header(batch.view())->last_offset() + 1;
                              }
                            }));
  }
  [[nodiscard]] bool waits() const { return waits_; }

  double bytes = 0;

 private:
  DiskWorld& world_;
  TopicId topic_;
  PartitionIndex partition_;
  Offset next_;
  bool waits_ = false;
};

/// A publish of 16 KiB each millisecond, and how long until a reader at the tail has it, in ms.
std::vector<double> tail_latencies(DiskWorld& world, TopicId topic, const SharedBytes& batch,
                                   Replay* behind) {
  using SteadyClock = std::chrono::steady_clock;
  std::map<Offset, SteadyClock::time_point> published;
  std::vector<double> latencies;
  std::optional<Offset> next;
  bool reads = false;
  std::size_t publishes = 0;
  const auto begin = SteadyClock::now();
  auto due = begin;
  while (seconds_since(begin) < 4 || publishes > 0 || reads) {
    const bool over = seconds_since(begin) >= 4;
    if (!over && SteadyClock::now() >= due) {
      due += std::chrono::milliseconds(1);
      PublishRequest request;
      request.parts.push_back({topic, {0}, {}, {}, batch});
      ++publishes;
      const auto at = SteadyClock::now();
      auto done = Done<PublishReply>([&, at](auto reply) {
        --publishes;
        if (!reply || !reply->parts.front()) give_up("publish");
        const Offset base = reply->parts.front()->base_offset;
        if (!next) next = base;
        published.emplace(base, at);
      });
      world.session().handle(std::move(request), std::move(done));
    }
    if (!over && next && !reads) {
      ReadRequest request;
      request.topic = topic;
      request.from = *next;
      request.wait = std::chrono::milliseconds(500);
      reads = true;
      world.session().handle(std::move(request), Done<ReadReply>([&](auto reply) {
                               reads = false;
                               if (!reply) give_up(to_string(reply.error()));
                               for (const SharedBytes& got : reply->batches) {
                                 const BatchHeader header = *parse_batch_header(got.view());
                                 next = header.last_offset() + 1;
                                 auto known = published.find(header.base_offset);
                                 if (known == published.end()) continue;
                                 latencies.push_back(1000 * seconds_since(known->second));
                                 published.erase(known);
                               }
                             }));
    }
    if (behind != nullptr && !over) behind->go_on();
    world.poll();
  }
  while (behind != nullptr && behind->waits()) world.step();
  std::ranges::sort(latencies);
  return latencies;
}

void slow_reader(const std::filesystem::path& directory) {
  std::printf(
      "16 KiB published each ms, and read at the tail; with a reader from offset 0, in turns\n");
  ShardOptions options;
  options.tail_cache_bytes = 16 * 1024 * 1024;
  DiskWorld world(directory / "reader", options);
  const TopicId topic = world.create_topic(2);
  const SharedBytes batch = batch_of(16, kRecord);
  Publisher(world, topic, batch_of(kRecordsPerBatch, kRecord),
            {.partitions = 2, .depth = 32, .bytes = 1024 * kMiB, .seconds = 60})
      .run();
  Replay behind(world, topic, {1});
  std::vector<double> medians[2];
  std::vector<double> tails[2];
  for (int i = 0; i < 6; ++i) {
    const int with = i % 2;
    const std::vector<double> found =
        tail_latencies(world, topic, batch, with == 1 ? &behind : nullptr);
    medians[with].push_back(percentile(found, 0.5));
    tails[with].push_back(percentile(found, 0.99));
  }
  for (auto* list : {&medians[0], &medians[1], &tails[0], &tails[1]}) std::ranges::sort(*list);
  row("alone: median, 99 %", number(medians[0][1], "%.3f ms, ") + number(tails[0][1], "%.3f ms"));
  row("beside it: median, 99 %",
      number(medians[1][1], "%.3f ms, ") + number(tails[1][1], "%.3f ms"));
  row("  ratios",
      number(medians[1][1] / medians[0][1], "%.2f, ") + number(tails[1][1] / tails[0][1], "%.2f"));
  row("  it read", number(behind.bytes / kMiB / 12, "%.0f MiB/s"));
}

// --- starts ---

void recovery(const std::filesystem::path& directory) {
  std::printf("Recovery, from a stop without notice until it serves\n");
  {
    ShardOptions options;
    options.checkpoint_files = 100;  // none: the journal is as full as it can be
    DiskWorld world(directory / "journal", options);
    const TopicId topic = world.create_topic(16);
    Publisher(world, topic, batch_of(kRecordsPerBatch, kRecord),
              {.depth = 32, .bytes = 430 * kMiB, .seconds = 60})
        .run();
    const double seconds = world.reopen();
    row("a journal of " + number(static_cast<double>(world.report.bytes) / kMiB, "%.0f") +
            " MiB in " + std::to_string(world.report.files) + " files",
        number(seconds, "%.2f s"), "< 1 s");
  }
  DiskWorld world(directory / "partitions", {});
  const TopicId topic = world.create_topic(5000);
  Publisher(world, topic, batch_of(1, kRecord),
            {.partitions = 5000, .depth = 256, .bytes = 100 * kMiB, .seconds = 30})
      .run();
  const double seconds = world.reopen();
  row("5 000 partitions, " + std::to_string(world.report.entries) + " entries after checkpoint " +
          std::to_string(world.report.checkpoint),
      number(seconds, "%.2f s"), "< 1 s");
}

// --- retained data ---

/// Sealed segments that hold nothing but their footer, behind the last of the stream.
void add_sparse_segments(Disk& disk, StreamObject& stream, std::uint64_t count,
                         std::uint64_t size) {
  constexpr std::uint64_t kBlock = 128 * 1024;
  const std::string directory = "shard-0/streams/" + stream_directory_name(stream.stream);
  Offset base = stream.segments.empty() ? stream.start : stream.segments.back().end;
  for (std::uint64_t i = 0; i < count; ++i) {
    ClaimedSegment claim;
    claim.id = {stream.stream, base, 1};
    claim.size = size;
    claim.sealed = true;
    SegmentFooter footer;
    footer.stream = stream.stream;
    footer.base = base;
    for (std::uint64_t position = 0; position < size; position += kBlock) {
      footer.index.push_back({base, WallTime{position == 0 ? INT64_MIN : 1000}, position});
      base = base + 100;
    }
    footer.end = claim.end = base;
    footer.max_timestamp = {1000};
    footer.record_count = static_cast<std::uint64_t>(footer.end - footer.base);
    AlignedMemory bytes(footer_size(footer.index.size()));
    encode_footer(footer, claim.id, size, bytes.bytes());
    Result<FileHandle> file =
        disk.open(directory + "/" + segment_name(claim.id), OpenMode::kCreate);
    if (!file || !disk.write_now(*file, size, bytes.bytes()).ok()) give_up("sparse segment");
    disk.close(*file);
    stream.segments.push_back(claim);
  }
}

/// As the broker writes it (FORMAT.md, "Objects").
ByteVector encode_stream(const StreamObject& stream) {
  ByteVector body;
  ByteWriter out(body);
  out.write(static_cast<std::uint8_t>(stream.is_partition));
  out.write(stream.start.value);
  out.write_varint(stream.segments.size());
  for (const ClaimedSegment& segment : stream.segments) {
    out.write(segment.id.base.value);
    out.write_varint(segment.id.generation);
    out.write(segment.end.value);
    out.write_varint(segment.size);
    out.write_varint(segment.size);
    out.write(static_cast<std::uint8_t>(segment.sealed));
    out.write(std::int64_t{INT64_C(4'000'000'000'000)});  // stored: too young to go
    out.write(SegmentFacts::kNone);
    out.write(std::int64_t{1000});  // the newest timestamp
    out.write_varint(static_cast<std::uint64_t>(segment.end - segment.id.base));
    if (!segment.sealed) give_up("a segment that is not sealed");
  }
  if (stream.is_partition) {
    out.write(stream.topic.value);
    out.write(stream.partition);
    out.write(static_cast<std::uint8_t>(stream.archived));
  }
  return body;
}

/// Writes the newest checkpoint again, as the next one, with so many segments more.
void retain(Disk& disk, std::uint64_t segments, std::uint64_t size) {
  Result<FoundCheckpoints> found = find_checkpoints(disk, "shard-0", {0});
  if (!found || found->finished.empty() || !found->finished.front().summary) {
    give_up("no checkpoint");
  }
  const FoundCheckpoint& newest = found->finished.front();
  auto reader = CheckpointReader::open(disk, "shard-0", {{0}, newest.number});
  auto writer = CheckpointWriter::create(disk, "shard-0", {{0}, newest.number + 1});
  if (!reader || !writer) give_up("checkpoint");
  for (bool added = false;;) {
    Result<std::optional<CheckpointObject>> object = reader->next();
    if (!object) give_up("checkpoint object");
    if (!object->has_value()) break;
    std::optional<StreamObject> stream = read_stream_object(**object);
    const bool sealed = stream && std::ranges::all_of(stream->segments, &ClaimedSegment::sealed);
    if (!added && sealed && stream->is_partition) {
      const std::string streams = "shard-0/streams";
      const std::string own = streams + "/" + stream_directory_name(stream->stream);
      if (!disk.make_directory(streams).ok() || !disk.make_directory(own).ok()) give_up(own);
      add_sparse_segments(disk, *stream, segments, size);
      const ByteVector body = encode_stream(*stream);
      CheckpointObject changed = **object;
      changed.body = body;
      (*writer)->add(changed);
      added = true;
      continue;
    }
    (*writer)->add(**object);
  }
  const CheckpointSummary& summary = *newest.summary;
  (*writer)->finish({summary.replay_from, summary.journal_file, summary.time});
  while ((*writer)->pending() > 0) {
    disk.submit();
    disk.wait();
  }
  if (!(*writer)->done()) give_up("checkpoint cannot be written");
}

void retained(const std::filesystem::path& directory) {
  std::printf("Start with retained data (sparse segments of 64 MiB)\n");
  ShardOptions options;
  options.checkpoint_files = 1;
  DiskWorld world(directory / "retained", options);
  world.create_topic(4);
  // A checkpoint with every second start; partitions without a message have no segments.
  for (int i = 0; i < 3; ++i) {
    world.reopen();
    world.until_idle(5);
  }
  row("nothing retained", number(world.reopen(), "%.3f s"));
  world.until_idle(5);
  retain(world.disk(), 1600, 64 * 1024 * 1024);
  row("100 GiB in 1 600 segments", number(world.reopen(), "%.3f s"), "as before");
}

// --- memory ---

void memory(const std::filesystem::path& directory, double gib) {
  std::printf("Resident memory, with a budget of 256 MiB\n");
  DiskWorld world(directory / "memory", with_memory(256));
  const TopicId topic = world.create_topic(16);
  const double before = resident_mib();
  const Measured measured = Publisher(world, topic, batch_of(kRecordsPerBatch, kRecord),
                                      {.depth = 32, .bytes = gib * 1024 * kMiB, .seconds = 900})
                                .run();
  row("at the start", number(before, "%.0f MiB"));
  row("at most, while " + number(measured.bytes / kMiB / 1024, "%.1f") +
          " GiB are published with no consumer",
      number(measured.resident, "%.0f MiB"), "at most 256");
  std::deque<Replay> readers;
  for (std::uint32_t i = 0; i < 100; ++i) {
    readers.emplace_back(world, topic, PartitionIndex{i % 16});
  }
  double most = 0;
  const auto begin = std::chrono::steady_clock::now();
  while (seconds_since(begin) < 20) {
    for (Replay& reader : readers) reader.go_on();
    world.step();
    most = std::max(most, resident_mib());
  }
  const double seconds = seconds_since(begin);
  while (std::ranges::any_of(readers, &Replay::waits)) world.step();
  double bytes = 0;
  for (const Replay& reader : readers) bytes += reader.bytes;
  row("at most, while 100 readers replay from the beginning", number(most, "%.0f MiB"),
      "at most 256");
  row("  they read, together", number(bytes / kMiB / seconds, "%.0f MiB/s"));
}

/// `only`: one part, or all of them if it is empty.
void run(const std::filesystem::path& directory, double gib, std::string_view only) {
  auto wanted = [only](std::string_view part) { return only.empty() || only == part; };
  const bool needs_device = wanted("device") || wanted("sustained");
  const Device device = needs_device ? raw_device(directory) : Device{};
  if (wanted("appends")) appends(directory);
  if (wanted("sustained")) sustained(directory, device);
  if (wanted("reader")) slow_reader(directory);
  if (wanted("recovery")) recovery(directory);
  if (wanted("retained")) retained(directory);
  if (wanted("memory")) memory(directory, gib);
}

}  // namespace
}  // namespace waybill

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) waybill::give_up("usage: storage_bench DIRECTORY [GIB [PART]]");
  const double gib = argc >= 3 ? std::strtod(argv[2], nullptr) : 20;
  if (gib <= 0) waybill::give_up("GIB is how much is published, like 20");
  waybill::run(argv[1], gib, argc == 4 ? argv[3] : "");
}
