#include "broker/server/start_report.h"

#include <sys/resource.h>

#include <algorithm>

#include "broker/server/log.h"

namespace waybill {
namespace {

/// Beside connections: journals, segments, rings, and what a thread needs.
constexpr std::uint64_t kFilesOfOurOwn = 1024;
constexpr std::uint64_t kLeastSegmentFiles = 256;
constexpr std::uint64_t kMostSegmentFiles = 100'000;

std::optional<std::uint64_t> limit_of(int resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return limit.rlim_cur;
}

std::string text_of(const std::optional<std::uint64_t>& limit) {
  return limit ? std::to_string(*limit) : "unlimited";
}

StartLine engine_line(const DiskFacts& facts) {
  StartLine line{.event = "disk.engine",
                 .warning = !facts.obstacle.empty(),
                 .value = facts.engine,
                 .cost = "one system call for many writes",
                 .change = "--disk pool does without io_uring"};
  if (facts.engine.starts_with("io_uring")) return line;
  line.cost = "two to three times the processor time of io_uring for each write";
  line.change = facts.obstacle.empty() ? "--disk auto takes io_uring where the system allows it"
                                       : facts.obstacle;
  return line;
}

}  // namespace

std::vector<StartLine> report_disk(const DiskFacts& facts) {
  StartLine sync{.event = "disk.sync",
                 .value = facts.sync_method,
                 .cost = facts.sync_method == "fdatasync"
                             ? "a second call for each durable write"
                             : "nothing beside the durable write itself",
                 .change = "'waybill storage probe DIR' measures what a disk offers"};
  StartLine files{.event = "disk.files",
                  .value = "O_DIRECT",
                  .cost = "nothing: the page cache is left to others",
                  .change = "a file system that refuses O_DIRECT gets buffered files"};
  if (!facts.direct) {
    files = {.event = "disk.files",
             .warning = true,
             .value = "buffered",
             .cost =
                 "the file system refuses O_DIRECT: every write is copied once more, and the "
                 "journal fills the page cache",
             .change = "put --data on ext4 or XFS"};
  }
  return {engine_line(facts), sync, files};
}

LimitFacts limits_now(std::size_t max_connections) {
  return {.locked_memory = limit_of(RLIMIT_MEMLOCK),
          .open_files = limit_of(RLIMIT_NOFILE),
          .max_connections = max_connections};
}

std::vector<StartLine> report_limits(const LimitFacts& facts) {
  StartLine memory{.event = "limit.memlock",
                   .value = text_of(facts.locked_memory),
                   .cost =
                       "kernels before 5.12 count io_uring's queues against it, and with too "
                       "little the thread pool is taken",
                   .change = "ulimit -l, or LimitMEMLOCK= of a service"};
  const std::uint64_t wanted = facts.max_connections + kFilesOfOurOwn;
  const bool few = facts.open_files && *facts.open_files < wanted;
  StartLine files{.event = "limit.nofile",
                  .warning = few,
                  .value = text_of(facts.open_files),
                  .cost = "each connection takes one; enough for " +
                          std::to_string(facts.max_connections) + " of them, and for " +
                          std::to_string(segment_files(facts)) + " partitions written to at a time",
                  .change = "ulimit -Hn, or LimitNOFILE= of a service"};
  if (few) {
    files.cost = "each connection takes one; " + std::to_string(wanted) + " would let in all " +
                 std::to_string(facts.max_connections) + " that a broker serves";
  }
  return {memory, files};
}

std::size_t segment_files(const LimitFacts& facts) {
  const std::uint64_t others = facts.max_connections + kFilesOfOurOwn;
  const std::uint64_t left =
      std::max(facts.open_files.value_or(kMostSegmentFiles), others) - others;
  return std::clamp(left, kLeastSegmentFiles, kMostSegmentFiles);
}

StartLine report_access(const AccessFacts& facts) {
  StartLine line;
  line.event = "access.users";
  line.warning = !facts.loopback;
  if (!facts.users) {
    line.value = "everybody";
    line.cost = "whoever connects may read and change everything";
    line.change = "--users FILE names who may what";
    return line;
  }
  line.value = std::to_string(*facts.users);
  line.cost = facts.loopback ? "a token in each hello; HTTP asks for none"
                             : "tokens and messages cross the network in clear text; HTTP asks for "
                               "no token";
  line.change = "a changed file is read at the next start";
  return line;
}

void log_start(const std::vector<StartLine>& lines) {
  for (const StartLine& line : lines) {
    (line.warning ? log_warning : log_info)(
        line.event, {{"is", line.value}, {"costs", line.cost}, {"change", line.change}});
  }
}

}  // namespace waybill
