// ProducerTable: what one partition remembers of its producers, so that it can tell a new batch
// from a duplicate and from a gap, for ever (D20, D21); part of the fold. DurableProducers: which
// durable producers a shard knows, with their epochs.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "protocol/base/limits.h"
#include "protocol/model/requests.h"
#include "storage/entry.h"

namespace waybill {

/// What a publish is, compared with what the producer sent before.
struct SequenceVerdict {
  enum class Kind : std::uint8_t { kAppend, kDuplicate, kRefuse };
  Kind kind = Kind::kAppend;
  Offset base_offset;                   ///< kDuplicate: of the first append
  std::optional<RequestError> refusal;  ///< kRefuse
};

class ProducerTable {
 public:
  struct RecentBatch {
    std::uint64_t base_sequence = 0;
    std::uint32_t count = 0;
    Offset base_offset;
  };
  struct State {
    ProducerKind kind{};
    std::uint64_t last_sequence = 0;
    EntrySeq last_used;
    std::vector<RecentBatch> recent;  ///< newest last, at most kProducerRecentBatches
  };

  /// Judges a batch of `count` messages. Changes nothing.
  [[nodiscard]] SequenceVerdict judge(const ProducerStamp& stamp, std::uint32_t count) const;
  /// The batch was appended at `base` as entry `seq`.
  void appended(const ProducerStamp& stamp, std::uint32_t count, Offset base, EntrySeq seq);
  /// A durable producer is forgotten: what it sends next is its first.
  void removed(ProducerId id);
  /// The last sequence of a producer here; nothing if it never published here.
  [[nodiscard]] std::optional<std::uint64_t> last_sequence(ProducerId id) const;

 private:
  friend class Snapshot;

  void forget_oldest_session();

  std::map<ProducerId, State> producers_;
  std::size_t session_count_ = 0;
};

struct DurableProducer {
  std::uint32_t epoch = 0;
  std::string name;
};

class DurableProducers {
 public:
  /// Whether a producer may be opened with this epoch: not lower than the known one, and within the
  /// limit. Nothing: yes.
  [[nodiscard]] std::optional<RequestError> refuse_open(const OpenProducerRequest& request) const;
  /// Whether a publish with this epoch is from the current owner. Nothing: yes.
  [[nodiscard]] std::optional<RequestError> refuse_publish(const ProducerStamp& stamp) const;
  void opened(ProducerId id, std::uint32_t epoch, std::string name);
  void removed(ProducerId id) { producers_.erase(id); }
  [[nodiscard]] const std::map<ProducerId, DurableProducer>& all() const { return producers_; }

 private:
  std::map<ProducerId, DurableProducer> producers_;
};

}  // namespace waybill
