// The bytes of a checkpoint: a shard's state that is not in streams, as a sequence of objects that
// are opaque here (S19). Constants, names, and the only code that turns page headers into bytes and
// back. FORMAT.md, "Checkpoints", is the page about them; a test parses its example.
//
//   | page | page | … | last page: the summary |     each a multiple of 4096
//
// The payloads of all pages but the last, one behind the other, are the objects; an object may go
// on in the next page. A file is written under a name of its own and renamed when it is whole and
// durable: so whatever bears a checkpoint's name is valid, or was damaged later.
//
// To change a layout: 1 raise kCheckpointVersion and keep the old decoder, 2 change FORMAT.md, 3
// add golden bytes, keep the old ones. A changed body of an object raises that object's version
// only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/base/bytes.h"
#include "protocol/base/clock.h"
#include "protocol/base/ids.h"
#include "protocol/base/limits.h"
#include "protocol/base/result.h"
#include "storage/entry.h"

namespace waybill {

inline constexpr std::uint32_t kPageMagic = 0x50434257;  ///< "WBCP"
inline constexpr std::uint16_t kCheckpointVersion = 1;
inline constexpr std::size_t kPageHeaderSize = 64;
inline constexpr std::size_t kObjectHeaderSize = 24;
inline constexpr std::size_t kSummarySize = 48;
/// A page is written when it is this full: large enough for the device, small enough to be written
/// beside the journal without being felt.
inline constexpr std::size_t kCheckpointPage = 256 * 1024;
/// An object is serialised in one slice of 200 microseconds (S19); this is far beyond that.
inline constexpr std::size_t kMaxCheckpointObject = 16 * 1024 * 1024;

/// Which checkpoint: part of every checksum's seed.
struct CheckpointId {
  ShardIndex shard;
  std::uint64_t number = 0;  ///< 1, 2, 3, … over the shard's life
  friend bool operator==(const CheckpointId&, const CheckpointId&) = default;
};

/// "checkpoint-000000000007.wbc"
std::string checkpoint_name(std::uint64_t number);
/// "checkpoint-000000000007.writing": not whole; worthless after a crash.
std::string unfinished_checkpoint_name(std::uint64_t number);
struct CheckpointName {
  std::uint64_t number = 0;
  bool finished = false;
};
/// Nothing if it is neither.
std::optional<CheckpointName> parse_checkpoint_name(std::string_view name);

struct CheckpointPage {
  std::uint16_t version = kCheckpointVersion;
  bool last = false;
  std::uint32_t page_size = 0;  ///< header, payload and padding; a multiple of 4096
  std::uint32_t payload_size = 0;
};

/// Writes header and checksum into `page`, whose payload and padding are there.
void seal_page(const CheckpointPage& header, const CheckpointId& id, std::uint64_t position,
               MutableBytes page);
/// The header, if these bytes can begin a page of this checkpoint: conditions P1 to P4 of
/// FORMAT.md.
std::optional<CheckpointPage> peek_page(Bytes bytes, const CheckpointId& id, std::uint64_t room);
/// Condition P5. `page` is the whole page.
bool page_intact(Bytes page, const CheckpointId& id, std::uint64_t position);

/// Before every object's body.
struct ObjectHeader {
  std::uint16_t kind = 0;     ///< what it is; known to the owner
  std::uint16_t version = 1;  ///< of its body
  std::uint32_t body_size = 0;
  std::uint64_t id = 0;  ///< which one of its kind
  EntrySeq applied;      ///< the last entry that is in it; replay skips those up to it
  friend bool operator==(const ObjectHeader&, const ObjectHeader&) = default;
};
void encode_object_header(const ObjectHeader& header, std::byte* out);
ObjectHeader decode_object_header(const std::byte* data);

/// The payload of the last page.
struct CheckpointSummary {
  std::uint64_t object_count = 0;
  std::uint64_t objects_size = 0;  ///< bytes of all objects, headers included
  EntrySeq max_applied;            ///< durable in the journal before the checkpoint was finished
  EntrySeq replay_from;            ///< the first entry that the objects may lack
  std::uint64_t journal_file = 0;  ///< number of the file that replay_from is in
  WallTime time;                   ///< when it was finished; for people
  friend bool operator==(const CheckpointSummary&, const CheckpointSummary&) = default;
};
/// `out` has kSummarySize bytes.
void encode_summary(const CheckpointSummary& summary, std::byte* out);
CheckpointSummary decode_summary(const std::byte* data);

}  // namespace waybill
