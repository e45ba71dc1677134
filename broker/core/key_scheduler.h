// KeyScheduler: which messages of a partition a group may hand out next, when that is not simply
// the next ones. It knows what a scan over the log has seen: messages wait in a queue of their key,
// one of each key is out at a time (D8); a message with a not-before time waits for it, and its key
// with it; a key behind a dead letter is held (D12). Messages without a key, or of a group that has
// no order, are `open`: any of them may go.
//
//   scan ──► queue of key a: 3 5 9      ready keys, first come first served: b c
//            queue of key b: 4          a is out (2), d is held, e waits for its time
//
// Of this run and never stored: after a restart the scan begins again at the group's floor. A key
// is known by the XXH3-64 of its bytes: keys with the same hash only wait for each other. A waiting
// message costs 16 bytes, one with a time 40; both kinds are bounded by the limit (D9). Owned by a
// GroupPartition, on the shard's thread; no clock of its own.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "broker/core/number_table.h"
#include "broker/core/range_set.h"
#include "protocol/base/bytes.h"
#include "protocol/base/clock.h"

namespace waybill {

/// XXH3-64 of a message's key; 0 stands for "no key".
using KeyHash = std::uint64_t;
KeyHash key_hash(std::optional<Bytes> key);

class KeyScheduler {
 public:
  /// `limit`: messages in queues, and messages that wait for their time, at most.
  explicit KeyScheduler(std::size_t limit) : limit_(limit) {}

  /// Forgets everything; the scan begins at `from`.
  void restart(Offset from);

  // --- the scan ---

  /// Everything below was seen.
  [[nodiscard]] Offset scanned() const { return scanned_; }
  void scanned_to(Offset offset) { scanned_ = offset; }
  [[nodiscard]] std::size_t limit() const { return limit_; }
  [[nodiscard]] bool full() const {
    return queued_ >= limit_ || timed_.size() >= limit_ || taken_.size() >= limit_;
  }
  /// Messages that may go in any order.
  void open(OffsetRange range) { open_.add(range); }
  /// A message seen by the scan; `not_before` 0: at once. Rising offsets. `redriven`: it came back
  /// from the dead letters.
  void add(Offset offset, KeyHash key, WallTime not_before, bool redriven = false);
  /// One that is out already: leased, delayed or dying.
  void add_taken(Offset offset, KeyHash key);

  // --- going and coming ---

  [[nodiscard]] const RangeSet& open() const { return open_; }
  void take_open(OffsetRange range) { open_.remove(range); }
  [[nodiscard]] bool has_ready() const { return !ready_.empty(); }
  [[nodiscard]] std::size_t ready_count() const { return ready_.size(); }
  /// The first message of the key that has been ready longest: its key is out until settled() or
  /// put_back(). `only_redriven`: passes over all others.
  std::optional<Offset> take(bool only_redriven = false);
  /// Its key is out with this message.
  [[nodiscard]] bool is_taken(Offset offset) const { return taken_.contains(number(offset)); }
  /// Done, dead or expired; nothing if it is not taken.
  void settled(Offset offset);
  /// May go again, before all others of its key. Requires is_taken().
  void put_back(Offset offset, bool redriven);
  /// As put_back(), of a message that is not taken: it came back from the dead letters.
  void add_front(Offset offset, KeyHash key);

  // --- time and holds ---

  /// When the next message with a time may go.
  [[nodiscard]] std::optional<WallTime> next_due() const;
  void run_due(WallTime now);
  /// A dead letter at that offset holds what comes behind it in its key, until released.
  void hold(KeyHash key, Offset offset);
  void release(KeyHash key, Offset offset);

  // --- counts ---

  /// Waiting for their time.
  [[nodiscard]] std::uint64_t scheduled_count() const { return timed_.size(); }
  /// Waiting behind a dead letter of their key.
  [[nodiscard]] std::uint64_t held_count() const { return held_; }
  /// As held_count(), message by message.
  [[nodiscard]] std::uint64_t count_held() const;

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static constexpr Offset kNever{INT64_MAX};
  struct Node {
    Offset offset;
    std::uint32_t next = kNone;
    bool timed = false;
    bool redriven = false;
  };
  static_assert(sizeof(Node) == 16);
  /// What waits of a key, and what is out.
  struct KeyQueue {
    std::uint32_t head = kNone;
    std::uint32_t tail = kNone;
    std::uint32_t count = 0;
    std::uint32_t timed = 0;  ///< of count
    std::uint32_t taken = 0;  ///< messages out
    bool held = false;        ///< behind the first of its holds_
    bool listed = false;      ///< in ready_
  };
  static_assert(sizeof(KeyQueue) == 24);
  struct Due {
    WallTime at;
    KeyHash key;
    std::uint32_t node;
    friend bool operator>(const Due& a, const Due& b) { return a.at > b.at; }
  };

  /// An offset as what taken_ knows it by.
  static std::uint64_t number(Offset offset) {
    return static_cast<std::uint64_t>(offset.value) + 1;
  }
  /// Changes a queue; held_ follows.
  template <class Change>
  void change(KeyHash key, KeyQueue& queue, Change change);
  [[nodiscard]] std::uint64_t held_in(KeyHash key, const KeyQueue& queue) const;
  /// What is behind that offset is held.
  [[nodiscard]] Offset held_from(KeyHash key) const;
  [[nodiscard]] bool may_go(KeyHash key, const KeyQueue& queue) const;
  KeyQueue& queue_of(KeyHash key) { return *by_key_.try_emplace(key).first; }
  std::uint32_t new_node(Offset offset, bool redriven);
  void insert_front(Offset offset, KeyHash key, KeyQueue& queue, bool redriven);
  void schedule(std::uint32_t node, KeyHash key, WallTime at);
  /// Lists the queue if it may go, erases it if nothing is left of it.
  void settle_queue(KeyHash key, KeyQueue& queue);
  Offset take_head(KeyHash key, KeyQueue& queue);

  std::size_t limit_;
  Offset scanned_;
  RangeSet open_;
  std::vector<Node> nodes_;
  std::vector<std::uint32_t> free_nodes_;
  NumberTable<KeyQueue> by_key_;
  NumberTable<KeyHash> taken_;  ///< number(offset) -> its key
  std::deque<KeyHash> ready_;   ///< each in by_key_; some may have changed since
  std::vector<Due> timed_;      ///< a heap, earliest first
  std::set<std::pair<KeyHash, Offset>> holds_;
  std::uint64_t queued_ = 0;
  std::uint64_t held_ = 0;
};

}  // namespace waybill
