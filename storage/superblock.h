// The superblock: whose data directory it is, which format it has, how many shards. And the names
// at the top of a data directory. FORMAT.md, "Superblock", has the bytes.
//
// Written once, by the broker that makes the directory, and never again (S24): a copy of it is a
// valid backup.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/base/bytes.h"
#include "protocol/base/clock.h"
#include "protocol/base/ids.h"
#include "protocol/base/result.h"

namespace waybill {

/// What the superblock says.
struct Superblock {
  Uuid broker_id;  ///< random, made with the directory; clients see it in hello
  std::uint16_t shard_count = 0;
  WallTime created_at;
  friend bool operator==(const Superblock&, const Superblock&) = default;
};

inline constexpr std::string_view kSuperblockName = "superblock";
inline constexpr std::size_t kSuperblockSize = 4096;
/// Of all that a data directory holds: whatever a broker cannot read of an older one, or an older
/// one of it, raises this, so that a directory is refused in one sentence and not by its first
/// entry that makes no sense. Raised for nothing, it refuses directories that could be read.
inline constexpr std::uint32_t kDataFormatVersion = 2;

/// To change the layout: 1 raise kDataFormatVersion, 2 change FORMAT.md. What never moves: magic
/// and version.
ByteVector encode_superblock(const Superblock& superblock);
/// kShortData or kBadFormat: no superblock. kUnsupportedFormat: of another format. kChecksum:
/// damaged.
Result<Superblock> decode_superblock(Bytes bytes);
/// The format version that a superblock states, this one or another; 0: the bytes are none.
std::uint32_t superblock_format(Bytes bytes);
/// What a person has to know of a directory with another format: whose it is, and what to do.
std::string explain_format(std::uint32_t version);

/// "shard-3": the directory of a shard.
std::string shard_directory(ShardIndex shard);
/// "shard-3/journal": made with the data directory, before its superblock. Where it is missing,
/// what the shard held is missing.
std::string journal_directory(ShardIndex shard);

}  // namespace waybill
