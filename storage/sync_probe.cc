#include "storage/sync_probe.h"

#include <algorithm>
#include <memory>

#include "storage/aligned_memory.h"
#include "storage/io/disk_engine.h"
#include "storage/journal_file.h"

namespace waybill {
namespace {

constexpr std::uint64_t kFileSize = 64 * 1024 * 1024;
constexpr std::size_t kSizes[] = {4096, 1024 * 1024};
constexpr std::size_t kDepths[] = {1, 4, 16};
constexpr const char* kName = "waybill-probe";

/// A file that was written from end to end, as journal files are (S1), and has no name any more.
Result<OpenFilePointer> make_file(Disk& disk) {
  Result<void> removed = disk.remove(kName);
  if (!removed && removed.error() != Errc::kNotFound) return removed.error();
  Result<FileHandle> handle = disk.open(kName, OpenMode::kCreate);
  if (!handle) return handle.error();
  auto file = std::make_shared<OpenFile>(disk, *handle);
  if (Result<void> done = disk.remove(kName); !done) return done.error();
  for (std::uint64_t position = 0; position < kFileSize; position += zero_block().size()) {
    if (Result<void> done = disk.write_now(*handle, position, zero_block()); !done)
      return done.error();
  }
  return file;
}

/// Keeps `depth` writes in flight until enough is known.
class Measurement {
 public:
  Measurement(Disk& disk, FileHandle file, const Clock& clock, const ProbeOptions& options,
              ProbeResult what)
      : disk_(disk),
        file_(file),
        clock_(clock),
        options_(options),
        result_(what),
        memory_(what.write_size) {
    std::ranges::fill(memory_.bytes(), std::byte{0x5a});
  }

  Result<ProbeResult> run() {
    const MonotonicTime start = clock_.monotonic();
    end_ = start + options_.max_time;
    for (std::size_t i = 0; i < result_.depth; ++i) begin_write();
    disk_.submit();
    while (disk_.pending() > 0) {
      disk_.wait();
      disk_.submit();
    }
    if (failure_) return *failure_;
    const std::chrono::duration<double> time = clock_.monotonic() - start;
    std::ranges::sort(times_);
    result_.writes = times_.size();
    result_.median = times_[times_.size() / 2];
    result_.p99 = times_[times_.size() * 99 / 100];
    result_.slowest = times_.back();
    result_.bytes_per_second =
        static_cast<double>(result_.write_size * result_.writes) / std::max(time.count(), 1e-9);
    return result_;
  }

 private:
  void begin_write() {
    if (failure_ || begun_ == options_.max_writes ||
        (begun_ >= result_.depth && clock_.monotonic() >= end_))
      return;
    const std::uint64_t position = begun_++ * result_.write_size % kFileSize;
    const MonotonicTime start = clock_.monotonic();
    const bool by_sync = result_.method == SyncMethod::kFdatasync;
    disk_.write(
        file_, position, memory_.bytes(), by_sync ? Durability::kBuffered : Durability::kDurable,
        [this, start, by_sync](Result<std::size_t> done) {
          if (!done || !by_sync) return finish(start, done);
          disk_.sync(file_, [this, start](Result<std::size_t> synced) { finish(start, synced); });
        });
  }
  void finish(MonotonicTime start, const Result<std::size_t>& done) {
    if (!done) {
      failure_ = done.error();
      return;
    }
    times_.push_back(clock_.monotonic() - start);
    begin_write();
  }

  Disk& disk_;
  FileHandle file_;
  const Clock& clock_;
  const ProbeOptions& options_;
  ProbeResult result_;
  AlignedMemory memory_;
  MonotonicTime end_;
  std::size_t begun_ = 0;
  std::vector<Duration> times_;
  std::optional<Error> failure_;
};

std::string describe(const ProbeResult& what) {
  return std::to_string(what.write_size / 1024) + " KiB, " + std::to_string(what.depth) +
         " in flight";
}

struct Methods {
  std::vector<SyncMethod> methods;
  bool chosen = false;  ///< the broker writes this way; it never waits for fdatasync alone
};

Result<void> measure(Disk& disk, FileHandle file, const Methods& methods, const Clock& clock,
                     const ProbeOptions& options,
                     const std::function<void(const std::string&)>& progress,
                     std::vector<ProbeResult>& results) {
  for (SyncMethod method : methods.methods) {
    for (std::size_t size : kSizes) {
      for (std::size_t depth : kDepths) {
        ProbeResult what;
        what.method = method;
        what.write_size = size;
        what.depth = depth;
        what.chosen = methods.chosen && method != SyncMethod::kFdatasync;
        progress("measuring " + describe(what));
        Result<ProbeResult> result = Measurement(disk, file, clock, options, what).run();
        if (!result) return result.error();
        results.push_back(*result);
      }
    }
  }
  return {};
}

}  // namespace

Result<ProbeReport> probe_directory(const std::string& directory, const Clock& clock,
                                    const ProbeOptions& options,
                                    const std::function<void(const std::string&)>& progress) {
  ProbeReport report;
  bool direct = true;
  for (bool wanted : {true, false}) {
    std::string why;
    Result<std::unique_ptr<Disk>> disk =
        open_disk(directory, DiskEngine::kAuto, &why, {.direct = wanted});
    if (!disk) return disk.error();
    progress("writing a file of 64 MiB");
    Result<OpenFilePointer> file = make_file(**disk);
    if (!file) return file.error();
    if (wanted) {
      // Both engines are one; whether direct files work is known once the first one is open.
      direct = static_cast<const PosixDisk&>(**disk).direct();
      report.engine = (*disk)->describe();
      report.why = why;
      if (!direct) continue;
    }
    const Methods methods = wanted ? Methods{{SyncMethod::kDirectDsync}, true}
                                   : Methods{{SyncMethod::kDsync, SyncMethod::kFdatasync}, !direct};
    Result<void> done =
        measure(**disk, (*file)->handle(), methods, clock, options, progress, report.results);
    if (!done) return done.error();
  }
  return report;
}

}  // namespace waybill
