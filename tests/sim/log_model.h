// LogModel: what publishers sent and were told, and what anybody saw of the log. It knows nothing
// of the broker's inside: every check follows from what clients sent and heard, in the order of
// real time.
//
//   durability   what was confirmed, or seen by anybody, is there for ever, byte for byte
//   no invention nothing is there that nobody sent
//   all or nothing, once: a batch is there whole or not at all, and at most once
//   real time    a batch lies behind everything that was known before it was sent
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "protocol/model/requests.h"
#include "tests/sim/findings.h"
#include "tests/sim/trace.h"

namespace waybill {

struct SimMessage {
  std::string value;
  std::optional<std::string> key;
  std::int64_t not_before = 0;  ///< wall clock, milliseconds; 0: at once
  std::int64_t expiry = 0;      ///< 0: never
};

/// A batch as it was sent; `id` names it for ever.
struct SentBatch {
  std::uint64_t id = 0;
  std::uint32_t partition = 0;
  std::vector<SimMessage> messages;
  bool confirmed = false;
  bool impossible = false;     ///< refused for good: it must never appear
  std::int64_t base = -1;      ///< confirmed, or seen
  std::int64_t known_end = 0;  ///< what had to lie before it, when it was sent first
};

class LogModel {
 public:
  LogModel(std::uint32_t partitions, Findings& findings)
      : findings_(findings), seen_(partitions), present_(partitions), ends_(partitions) {}

  /// The batch is about to be sent for the first time; gives it its id and its values.
  SentBatch& sending(std::uint32_t partition, std::vector<SimMessage> messages);
  SentBatch& batch(std::uint64_t id) { return batches_[id]; }
  void confirmed(std::uint64_t id, std::int64_t base, bool duplicate, bool repeated);
  void refused_for_good(std::uint64_t id) { batches_[id].impossible = true; }

  /// A client was handed this record, under this offset (not a fixed one).
  void saw(Place place, const std::string& value, const std::optional<std::string>& key);
  /// A reader asked when `known` was the end, and was told this end.
  void saw_end(std::uint32_t partition, std::int64_t known, std::int64_t end);
  /// Answers of a read that was asked for when `known` was the end.
  void read_told(std::uint32_t partition, std::int64_t known, const Reply<ReadReply>& reply);
  /// Of this partition what has a later message of its key may be gone (S23).
  void expect_compaction(std::uint32_t partition) { compacted_.insert(partition); }
  [[nodiscard]] bool may_be_compacted(Place place) const {
    return compacted_.contains(place.partition);
  }
  /// Whether compaction took it, when check_all() has looked.
  [[nodiscard]] bool is_gone(Place place) const {
    return may_be_compacted(place) && !present_[place.partition].contains(place.offset);
  }
  /// Everything in the log up to `end`, by offset, when nothing moves any more.
  void check_all(std::uint32_t partition, const std::map<std::int64_t, std::string>& values,
                 std::int64_t end);

  /// The end as far as anybody knows.
  [[nodiscard]] std::int64_t known_end(std::uint32_t partition) const { return ends_[partition]; }
  [[nodiscard]] const std::vector<std::int64_t>& known_ends() const { return ends_; }
  /// What lies there, if anybody knows.
  [[nodiscard]] const SimMessage* find(Place place) const;
  /// Offsets of the messages with this key, as far as anybody knows; no key: of all.
  [[nodiscard]] const std::set<std::int64_t>& offsets(std::uint32_t partition,
                                                      const std::optional<std::string>& key) {
    return by_key_[{partition, key}];
  }
  [[nodiscard]] std::uint64_t message_count() const { return message_count_; }

 private:
  struct Origin {
    std::uint64_t batch = 0;
    std::size_t index = 0;
  };
  void place_batch(SentBatch& batch, std::int64_t base);
  void check_gone(Place place, const SimMessage& message);

  Findings& findings_;
  std::vector<SentBatch> batches_;
  std::map<std::string, Origin> origins_;             ///< by value
  std::vector<std::map<std::int64_t, Origin>> seen_;  ///< by partition and offset
  std::map<std::pair<std::uint32_t, std::optional<std::string>>, std::set<std::int64_t>> by_key_;
  std::set<std::uint32_t> compacted_;
  std::vector<std::set<std::int64_t>> present_;  ///< by partition, as check_all() found it
  std::vector<std::int64_t> ends_;
  std::uint64_t message_count_ = 0;
};

}  // namespace waybill
