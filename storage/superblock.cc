#include "storage/superblock.h"

#include <cstring>

#include "protocol/base/checksum.h"
#include "protocol/base/limits.h"

namespace waybill {
namespace {

constexpr std::uint64_t kMagic = 0x4b4c425245505553;  // "SUPERBLK"

}  // namespace

ByteVector encode_superblock(const Superblock& superblock) {
  ByteVector bytes;
  ByteWriter writer(bytes);
  writer.write(std::uint64_t{0});  // checksum, below
  writer.write(kMagic);
  writer.write(kDataFormatVersion);
  writer.write(superblock.shard_count);
  writer.write(std::uint16_t{0});
  writer.write_bytes(superblock.broker_id.bytes);
  writer.write(superblock.created_at.milliseconds);
  bytes.resize(kSuperblockSize);
  store_little(bytes.data(), xxh3_64(Bytes(bytes).subspan(8)));
  return bytes;
}

Result<Superblock> decode_superblock(Bytes bytes) {
  if (bytes.size() < kSuperblockSize) return {Errc::kShortData, "superblock"};
  ByteReader reader(bytes.first(kSuperblockSize));
  auto checksum = reader.read<std::uint64_t>();
  if (reader.read<std::uint64_t>() != kMagic) return {Errc::kBadFormat, "superblock"};
  if (reader.read<std::uint32_t>() != kDataFormatVersion) {
    return {Errc::kUnsupportedFormat, "superblock"};
  }
  if (checksum != xxh3_64(bytes.subspan(8, kSuperblockSize - 8))) {
    return {Errc::kChecksum, "superblock"};
  }
  Superblock superblock;
  superblock.shard_count = reader.read<std::uint16_t>();
  reader.read<std::uint16_t>();
  Bytes id = reader.read_bytes(superblock.broker_id.bytes.size());
  std::memcpy(superblock.broker_id.bytes.data(), id.data(), id.size());
  superblock.created_at.milliseconds = reader.read<std::int64_t>();
  if (superblock.shard_count < 1 || superblock.shard_count > limits::kMaxShards) {
    return {Errc::kBadFormat, "superblock"};
  }
  return superblock;
}

std::uint32_t superblock_format(Bytes bytes) {
  if (bytes.size() < kSuperblockSize) return 0;
  ByteReader reader(bytes.first(kSuperblockSize));
  reader.read<std::uint64_t>();
  return reader.read<std::uint64_t>() == kMagic ? reader.read<std::uint32_t>() : 0;
}

std::string explain_format(std::uint32_t version) {
  const bool older = version < kDataFormatVersion;
  std::string text = "has format " + std::to_string(version);
  text += older ? ", of an older version of waybilld; this one reads format "
                : ", of a newer version of waybilld; this one reads format ";
  text += std::to_string(kDataFormatVersion) + " only. Nothing was changed. ";
  if (!older) return text + "Start the version that made it.";
  return text +
         "Start the version that made it; to go on with this one, let consumers finish with the "
         "old one, then begin with a new directory.";
}

std::string shard_directory(ShardIndex shard) {
  return "shard-" + std::to_string(shard.value);
}

std::string journal_directory(ShardIndex shard) {
  return shard_directory(shard) + "/journal";
}

}  // namespace waybill
