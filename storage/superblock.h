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
inline constexpr std::uint32_t kDataFormatVersion = 1;

/// To change the layout: 1 raise kDataFormatVersion and keep the old decoder, 2 change FORMAT.md.
ByteVector encode_superblock(const Superblock& superblock);
/// kShortData or kBadFormat: no superblock. kUnsupportedFormat: a newer broker's. kChecksum:
/// damaged.
Result<Superblock> decode_superblock(Bytes bytes);

/// "shard-3": the directory of a shard.
std::string shard_directory(ShardIndex shard);

}  // namespace waybill
