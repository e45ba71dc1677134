#include "storage/format.h"

#include <algorithm>

#include "protocol/base/checksum.h"

namespace waybill {
namespace {

// Positions within the file header block.
constexpr std::size_t kFileChecksumAt = 0;
constexpr std::size_t kFileMagicAt = 8;
constexpr std::size_t kFileVersionAt = 16;
constexpr std::size_t kFileShardAt = 20;
constexpr std::size_t kFileNumberAt = 24;
constexpr std::size_t kFileEpochAt = 32;
constexpr std::size_t kFileFirstFrameAt = 40;
constexpr std::size_t kFileSizeAt = 48;
constexpr std::size_t kFileStartAt = 56;

// Positions within the frame header.
constexpr std::size_t kFrameChecksumAt = 0;
constexpr std::size_t kFrameMagicAt = 8;
constexpr std::size_t kFrameVersionAt = 12;
constexpr std::size_t kFrameFlagsAt = 14;
constexpr std::size_t kFrameSeqAt = 16;
constexpr std::size_t kFrameEpochAt = 24;
constexpr std::size_t kFrameDurableAt = 32;
constexpr std::size_t kFrameFirstEntryAt = 40;
constexpr std::size_t kFrameSizeAt = 48;
constexpr std::size_t kFramePayloadAt = 52;
constexpr std::size_t kFrameEntriesAt = 56;
constexpr std::size_t kFrameReservedAt = 60;
static_assert(kFrameReservedAt + sizeof(std::uint32_t) == kJournalFrameHeaderSize);

constexpr std::size_t kChecksumSize = sizeof(std::uint64_t);

std::uint64_t frame_seed(const FrameSpot& spot) {
  std::byte seed[24];
  store_little(seed, static_cast<std::uint64_t>(spot.shard.value));
  store_little(seed + 8, spot.file_epoch);
  store_little(seed + 16, spot.position);
  return xxh3_64(seed);
}

}  // namespace

void encode_file_header(const FileHeader& header, MutableBytes block) {
  WB_ASSERT(block.size() == kFileHeaderSize, "a file header is one block");
  std::fill(block.begin(), block.end(), std::byte{0});
  std::byte* out = block.data();
  store_little(out + kFileMagicAt, kFileMagic);
  store_little(out + kFileVersionAt, static_cast<std::uint32_t>(kJournalVersion));
  store_little(out + kFileShardAt, static_cast<std::uint32_t>(header.shard.value));
  store_little(out + kFileNumberAt, header.file_number);
  store_little(out + kFileEpochAt, header.file_epoch);
  store_little(out + kFileFirstFrameAt, header.first_frame_seq);
  store_little(out + kFileSizeAt, header.file_size);
  store_little(out + kFileStartAt, header.start_number);
  store_little(out + kFileChecksumAt, xxh3_64(block.subspan(kChecksumSize)));
}

Result<FileHeader> decode_file_header(Bytes block) {
  if (block.size() != kFileHeaderSize) return {Errc::kShortData, "journal file header"};
  const std::byte* data = block.data();
  if (load_little<std::uint64_t>(data + kFileMagicAt) != kFileMagic)
    return {Errc::kBadFormat, "journal file header: magic"};
  if (load_little<std::uint64_t>(data + kFileChecksumAt) != xxh3_64(block.subspan(kChecksumSize)))
    return {Errc::kChecksum, "journal file header: checksum"};
  if (load_little<std::uint32_t>(data + kFileVersionAt) != kJournalVersion)
    return {Errc::kUnsupportedFormat, "journal file header: version"};
  auto shard = load_little<std::uint32_t>(data + kFileShardAt);
  if (shard > UINT16_MAX) return {Errc::kBadFormat, "journal file header: shard"};
  FileHeader header;
  header.shard.value = static_cast<std::uint16_t>(shard);
  header.file_number = load_little<std::uint64_t>(data + kFileNumberAt);
  header.file_epoch = load_little<std::uint64_t>(data + kFileEpochAt);
  header.first_frame_seq = load_little<std::uint64_t>(data + kFileFirstFrameAt);
  header.file_size = load_little<std::uint64_t>(data + kFileSizeAt);
  header.start_number = load_little<std::uint32_t>(data + kFileStartAt);
  return header;
}

void seal_frame(const JournalFrameHeader& header, const FrameSpot& spot, MutableBytes frame) {
  WB_ASSERT(frame.size() == header.frame_size, "a frame is as long as it says");
  std::byte* out = frame.data();
  store_little(out + kFrameMagicAt, kFrameMagic);
  store_little(out + kFrameVersionAt, header.version);
  store_little(out + kFrameFlagsAt, header.flags);
  store_little(out + kFrameSeqAt, header.frame_seq);
  store_little(out + kFrameEpochAt, header.file_epoch);
  store_little(out + kFrameDurableAt, header.durable_seq);
  store_little(out + kFrameFirstEntryAt, header.first_entry_seq.value);
  store_little(out + kFrameSizeAt, header.frame_size);
  store_little(out + kFramePayloadAt, header.payload_size);
  store_little(out + kFrameEntriesAt, header.entry_count);
  store_little(out + kFrameReservedAt, std::uint32_t{0});
  store_little(out + kFrameChecksumAt, xxh3_64(frame.subspan(kChecksumSize), frame_seed(spot)));
}

std::optional<JournalFrameHeader> peek_frame(Bytes bytes, const FrameSpot& spot,
                                             std::uint64_t room) {
  if (bytes.size() < kJournalFrameHeaderSize) return std::nullopt;  // F1
  const std::byte* data = bytes.data();
  if (load_little<std::uint32_t>(data + kFrameMagicAt) != kFrameMagic) return std::nullopt;  // F2
  JournalFrameHeader header;
  header.version = load_little<std::uint16_t>(data + kFrameVersionAt);
  header.flags = load_little<FrameFlags>(data + kFrameFlagsAt);
  header.frame_seq = load_little<std::uint64_t>(data + kFrameSeqAt);
  header.file_epoch = load_little<std::uint64_t>(data + kFrameEpochAt);
  header.durable_seq = load_little<std::uint64_t>(data + kFrameDurableAt);
  header.first_entry_seq.value = load_little<std::uint64_t>(data + kFrameFirstEntryAt);
  header.frame_size = load_little<std::uint32_t>(data + kFrameSizeAt);
  header.payload_size = load_little<std::uint32_t>(data + kFramePayloadAt);
  header.entry_count = load_little<std::uint32_t>(data + kFrameEntriesAt);
  if (header.file_epoch != spot.file_epoch) return std::nullopt;                        // F3
  if (header.frame_size < limits::kBlock || header.frame_size % limits::kBlock != 0 ||  // F4
      header.frame_size > limits::kMaxJournalFrame || header.frame_size > room)
    return std::nullopt;
  return header;
}

bool begins_like_frame(Bytes bytes, const FrameSpot& spot) {
  constexpr int kMostDamaged = 2;
  if (bytes.size() < kJournalFrameHeaderSize) return false;
  const auto epoch = load_little<std::uint64_t>(bytes.data() + kFrameEpochAt);
  int damaged = 0;
  for (std::uint64_t differ = epoch ^ spot.file_epoch; differ != 0; differ >>= 8) {
    damaged += (differ & 0xFF) != 0 ? 1 : 0;
  }
  return damaged <= kMostDamaged;
}

bool frame_intact(Bytes frame, const FrameSpot& spot) {
  return load_little<std::uint64_t>(frame.data() + kFrameChecksumAt) ==
         xxh3_64(frame.subspan(kChecksumSize), frame_seed(spot));  // F5
}

void encode_entry_header(const EntryHeader& header, std::byte* out) {
  store_little(out, header.body_size);
  store_little(out + 4, header.type);
  store_little(out + 5, header.version);
  store_little(out + 6, header.flags);
  store_little(out + 8, header.seq.value);
  store_little(out + 16, header.term);
}

EntryHeader decode_entry_header(const std::byte* data) {
  EntryHeader header;
  header.body_size = load_little<std::uint32_t>(data);
  header.type = load_little<EntryType>(data + 4);
  header.version = load_little<std::uint8_t>(data + 5);
  header.flags = load_little<std::uint16_t>(data + 6);
  header.seq.value = load_little<std::uint64_t>(data + 8);
  header.term = load_little<std::uint64_t>(data + 16);
  return header;
}

bool is_known(EntryType type) {
  switch (type) {
    case EntryType::kAppend:
    case EntryType::kDelivery:
    case EntryType::kDeadLetter:
    case EntryType::kCatalog:
    case EntryType::kAdopt:
    case EntryType::kProducer:
    case EntryType::kTrim:
    case EntryType::kCarry:
    case EntryType::kStart:
      return true;
  }
  return false;
}

ByteVector encode_start_body(const StartBody& body) {
  ByteVector out;
  ByteWriter writer(out);
  writer.write(body.start_number);
  writer.write(std::uint32_t{0});
  writer.write(body.time.milliseconds);
  WB_ASSERT(out.size() == kStartBodySize, "a start body has a fixed size");
  return out;
}

Result<StartBody> decode_start_body(Bytes bytes) {
  ByteReader reader(bytes);
  StartBody body;
  body.start_number = reader.read<std::uint32_t>();
  reader.read<std::uint32_t>();
  body.time.milliseconds = reader.read<std::int64_t>();
  if (!reader.finished()) return {Errc::kBadFormat, "start entry"};
  return body;
}

}  // namespace waybill
