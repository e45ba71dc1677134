#include "tests/sim/log_model.h"

#include <algorithm>

#include "protocol/record/batch_view.h"

namespace waybill {

SentBatch& LogModel::sending(std::uint32_t partition, std::vector<SimMessage> messages) {
  SentBatch batch;
  batch.id = batches_.size();
  batch.partition = partition;
  batch.known_end = ends_[partition];
  for (std::size_t i = 0; i < messages.size(); ++i) {
    messages[i].value =
        "b" + std::to_string(batch.id) + "." + std::to_string(i) + messages[i].value;
    origins_[messages[i].value] = {batch.id, i};
  }
  message_count_ += messages.size();
  batch.messages = std::move(messages);
  batches_.push_back(std::move(batch));
  return batches_.back();
}

/// The batch lies at `base`, for ever.
void LogModel::place_batch(SentBatch& batch, std::int64_t base) {
  Place place{batch.partition, base};
  if (batch.base >= 0 && batch.base != base) {
    return findings_.report("once",
                            "batch " + std::to_string(batch.id) + " is at offset " +
                                std::to_string(batch.base) + " and at " + std::to_string(base),
                            place);
  }
  if (batch.impossible) {
    findings_.report("refused stays refused",
                     "batch " + std::to_string(batch.id) + " was refused for good", place);
  }
  if (base < batch.known_end) {
    findings_.report("real time",
                     "batch " + std::to_string(batch.id) + " was sent when offset " +
                         std::to_string(batch.known_end - 1) + " was known, and lies before it",
                     place);
  }
  batch.base = base;
  for (std::size_t i = 0; i < batch.messages.size(); ++i) {
    std::int64_t offset = base + static_cast<std::int64_t>(i);
    auto [at, inserted] = seen_[batch.partition].try_emplace(offset, Origin{batch.id, i});
    by_key_[{batch.partition, std::nullopt}].insert(offset);
    if (batch.messages[i].key) by_key_[{batch.partition, batch.messages[i].key}].insert(offset);
    if (!inserted && (at->second.batch != batch.id || at->second.index != i)) {
      findings_.report("one offset, one message",
                       "batches " + std::to_string(at->second.batch) + " and " +
                           std::to_string(batch.id) + " both lie there",
                       Place{batch.partition, offset});
    }
  }
  std::int64_t end = base + static_cast<std::int64_t>(batch.messages.size());
  ends_[batch.partition] = std::max(ends_[batch.partition], end);
}

void LogModel::confirmed(std::uint64_t id, std::int64_t base, bool duplicate, bool repeated) {
  SentBatch& batch = batches_[id];
  if (duplicate && !repeated) {
    findings_.report("no false duplicate", "a batch that was sent once is called a duplicate",
                     Place{batch.partition, base});
  }
  place_batch(batch, base);
  batch.confirmed = true;
}

void LogModel::saw(Place place, const std::string& value, const std::optional<std::string>& key) {
  auto origin = origins_.find(value);
  if (origin == origins_.end()) {
    return findings_.report("no invention", "nobody ever sent this value", place);
  }
  SentBatch& batch = batches_[origin->second.batch];
  const SimMessage& message = batch.messages[origin->second.index];
  if (batch.partition != place.partition) {
    return findings_.report("no invention", "it was sent to another partition", place);
  }
  if (message.key != key) findings_.report("byte for byte", "its key is another", place);
  place_batch(batch, place.offset - static_cast<std::int64_t>(origin->second.index));
}

void LogModel::saw_end(std::uint32_t partition, std::int64_t known, std::int64_t end) {
  if (end < known) {
    findings_.report("the end never goes back",
                     "offset " + std::to_string(known - 1) + " of partition " +
                         std::to_string(partition) + " was known, and the end is " +
                         std::to_string(end),
                     Place{partition, known - 1});
  }
}

void LogModel::read_told(std::uint32_t partition, std::int64_t known,
                         const Reply<ReadReply>& reply) {
  if (!reply) {
    // The disk may have failed to read; that the offset is not there is never true.
    if (reply.error() == Errc::kOffsetOutOfRange) {
      findings_.report("the end never goes back", to_string(reply.error()),
                       Place{partition, known - 1});
    }
    return;
  }
  saw_end(partition, known, reply->end.value);
  for (const SharedBytes& batch : reply->batches) {
    Result<BatchReader> reader = BatchReader::open(batch.view());
    if (!reader) return findings_.report("a read can be read", to_string(reader.error()));
    Result<void> read = reader->for_each([&](const RecordView& record) {
      std::optional<std::string> key;
      if (record.key) key = std::string(as_text(*record.key));
      saw({partition, record.offset.value}, std::string(as_text(record.value.value_or(Bytes{}))),
          key);
      return true;
    });
    if (!read) findings_.report("a read can be read", to_string(read.error()));
  }
}

void LogModel::check_all(std::uint32_t partition, const std::map<std::int64_t, std::string>& values,
                         std::int64_t end) {
  std::map<std::uint64_t, std::size_t> present;  // batch -> messages
  present_[partition].clear();
  for (const auto& [offset, value] : values) {
    Place place{partition, offset};
    auto origin = origins_.find(value);
    if (origin == origins_.end()) {
      return findings_.report("no invention", "nobody ever sent this value", place);
    }
    place_batch(batches_[origin->second.batch],
                place.offset - static_cast<std::int64_t>(origin->second.index));
    ++present[origin->second.batch];
    present_[partition].insert(offset);
  }
  for (const auto& [id, count] : present) {
    if (count != batches_[id].messages.size() && !compacted_.contains(partition)) {
      findings_.report("whole or not at all", "batch " + std::to_string(id) + " is there in part",
                       Place{partition, batches_[id].base});
    }
  }
  for (const auto& [offset, origin] : seen_[partition]) {
    if (values.contains(offset)) continue;
    Place place{partition, offset};
    const SentBatch& batch = batches_[origin.batch];
    if (offset < end && compacted_.contains(partition)) {
      check_gone(place, batch.messages[origin.index]);
      continue;
    }
    return findings_.report(
        "durability",
        batch.confirmed ? "it was confirmed, and is gone" : "a client saw it, and it is gone",
        place);
  }
}

/// Compaction may have taken it.
void LogModel::check_gone(Place place, const SimMessage& message) {
  const std::set<std::int64_t>& all = offsets(place.partition, message.key);
  if (message.key && *all.rbegin() > place.offset) return;
  findings_.report("the latest of a key stays", "it has no later one, and is gone", place);
}

const SimMessage* LogModel::find(Place place) const {
  auto found = seen_[place.partition].find(place.offset);
  if (found == seen_[place.partition].end()) return nullptr;
  return &batches_[found->second.batch].messages[found->second.index];
}

}  // namespace waybill
