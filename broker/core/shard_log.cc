#include "broker/core/shard_log.h"
#include "protocol/base/mutant.h"
#include "storage/superblock.h"

#include <string>
#include <utility>

namespace waybill {

ShardLog::ShardLog(ShardEnvironment environment, ShardOptions options)
    : environment_(environment),
      options_(options),
      cache_(options.tail_cache_bytes),
      segments_(environment.disk, shard_directory(options.shard) + "/streams",
                options.catch_up_cache_bytes) {}

ShardLog::~ShardLog() {
  journal_.reset();
  segments_.silence();
  while (segments_.pending() > 0 && environment_.disk.pending() > 0) {
    environment_.disk.submit();
    environment_.disk.wait();
  }
}

Result<void> ShardLog::open(Journal::Replay replay, RecoveryReport* report,
                            std::string* explanation) {
  JournalOptions options;
  options.directory = shard_directory(options_.shard) + "/journal";
  options.shard = options_.shard;
  options.file_size = options_.journal_file_size;
  options.reserve = options_.journal_file_size / 4;
  Result<std::unique_ptr<Journal>> journal =
      Journal::open(environment_.disk, environment_.clock, environment_.random, std::move(options),
                    std::move(replay), explanation);
  if (!journal) return journal.error();
  journal_ = std::move(*journal);
  *report = journal_->report();
  journal_->on_progress([this] { progress(); });
  for (auto& [id, stream] : streams_) stream->reveal(journal_->durable());
  unrevealed_.clear();
  cache_.trim(journal_->durable());
  return {};
}

StagedEntry ShardLog::stage(EntryType type, Bytes head, Bytes tail) {
  EntryDraft draft{type, 1, head, tail};
  return journal_->stage({&draft, 1}).front();
}

Stream& ShardLog::create_stream(StreamId id) {
  auto [it, inserted] = streams_.try_emplace(id, std::make_unique<Stream>(id));
  WB_ASSERT(inserted, "stream ids are never reused");
  return *it->second;
}

void ShardLog::drop_stream(StreamId id) {
  auto found = streams_.find(id);
  if (found == streams_.end()) return;
  cache_.forget(*found->second);
  streams_.erase(found);
}

Stream* ShardLog::find_stream(StreamId id) {
  auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second.get();
}

void ShardLog::append(Stream& stream, const AppendedBatch& batch, const StagedEntry& entry) {
  StoredBatch stored;
  stored.base = batch.base;
  stored.count = batch.count;
  stored.size = entry.body_size - static_cast<std::uint32_t>(batch.batch_offset);
  stored.max_timestamp = batch.max_timestamp;
  stored.timed = batch.timed;
  stored.seq = entry.seq;
  stored.frame = entry.frame;
  stored.frame_offset = entry.body_offset + static_cast<std::uint32_t>(batch.batch_offset);
  stream.append(std::move(stored));
  cache_.added(stream);
  unrevealed_.push_back({entry.seq, stream.id()});
  // While the journal replays, everything it hands out is durable and nobody waits: keep within the
  // budget as it goes.
  if (!journal_) {
    cache_.trim(entry.seq);
    unrevealed_.clear();
  }
}

void ShardLog::read(const Stream& stream, Offset from, Offset end, BatchesRead done) {
  read_batches(*journal_, segments_, stream, from, end,
               [this, done = std::move(done)](Result<std::vector<SharedBytes>> batches) mutable {
                 done(std::move(batches));
                 if (touched_) touched_();
               });
}

void ShardLog::end_turn() {
  if (!turn_waiters_.empty()) {
    EntrySeq seq = journal_->staged();
    for (Waiter& waiter : turn_waiters_) waiting_.push_back({seq, std::move(waiter)});
    turn_waiters_.clear();
  }
  journal_->pump();
  environment_.disk.submit();
  run_waiters();
}

void ShardLog::progress() {
  EntrySeq durable = journal_->durable();
  while (!unrevealed_.empty() && unrevealed_.front().seq <= durable) {
    StreamId id = unrevealed_.front().stream;
    unrevealed_.pop_front();
    Stream* stream = find_stream(id);
    if (stream == nullptr) continue;
    Offset before = stream->visible_end();
    stream->reveal(durable);
    if (stream->visible_end() != before && revealed_) revealed_(*stream);
  }
  cache_.trim(durable);
  run_waiters();
  if (touched_) touched_();
}

void ShardLog::run_waiters() {
  // A waiter may add waiters, and may look at the queue again through progress(): take each out
  // before it runs.
  while (!waiting_.empty()) {
    bool durable = waiting_.front().seq <= journal_->durable() || mutant("reply_before_durable");
    if (!durable && !journal_->poisoned()) return;
    Waiter waiter = std::move(waiting_.front().waiter);
    waiting_.pop_front();
    waiter(durable);
  }
}

}  // namespace waybill
