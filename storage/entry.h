// An entry: one change inside a journal frame. This header fixes the envelope that every entry has;
// what is in the body is known to whoever wrote it (broker/core/entries.h). FORMAT.md has the
// bytes.
//
// To add a type: 1 take the next free number, 2 describe its body in FORMAT.md and bump nothing
// else, 3 handle it in Shard::apply. Unknown types refuse to start: a newer broker wrote them. To
// change a body: raise that entry's version and keep the old reader.
#pragma once

#include <cstdint>
#include <string_view>

#include "protocol/base/bytes.h"

namespace waybill {

enum class EntryType : std::uint8_t {
  // Logical: part of the fold, numbered by entry_seq, the same on every replica (S11).
  kAppend = 1,      ///< a batch at the end of a stream
  kDelivery = 2,    ///< leases and settlements of one group on one partition
  kDeadLetter = 3,  ///< a dead letter's birth or change of state
  kCatalog = 4,     ///< topics and groups, on shard 0
  kAdopt = 5,       ///< a shard takes over its part of a catalog change
  kProducer = 6,    ///< a durable producer is opened or removed
  kTrim = 7,        ///< a stream begins later (S22)
  kCarry = 8,  ///< a batch of a stream once more, so that where it was is needed no longer (S18)
  // Local: about this machine's files only, without entry_seq.
  kStart = 64,  ///< a new run of the broker (S9)
};
inline constexpr std::uint8_t kFirstLocalEntryType = 64;
inline bool holds_batch(EntryType type) {
  return type == EntryType::kAppend || type == EntryType::kCarry;
}
inline bool is_local(EntryType type) {
  return static_cast<std::uint8_t>(type) >= kFirstLocalEntryType;
}

/// Position in the fold: 1, 2, 3, … over all logical entries of a shard, for ever. 0: before any.
struct EntrySeq {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(const EntrySeq&, const EntrySeq&) = default;
};

/// An entry as read from a frame. `body` points into the frame's memory.
struct EntryView {
  EntryType type{};
  std::uint8_t version = 1;
  std::uint64_t term = 0;  ///< leadership epoch; 0 until there is more than one machine
  EntrySeq seq;            ///< 0 for local entries
  Bytes body;
};

}  // namespace waybill
