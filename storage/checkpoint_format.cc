#include "storage/checkpoint_format.h"

#include <algorithm>
#include <charconv>

#include "protocol/base/checksum.h"

namespace waybill {
namespace {

// Positions within the page header.
constexpr std::size_t kChecksumAt = 0;
constexpr std::size_t kMagicAt = 8;
constexpr std::size_t kVersionAt = 12;
constexpr std::size_t kFlagsAt = 14;
constexpr std::size_t kNumberAt = 16;
constexpr std::size_t kShardAt = 24;
constexpr std::size_t kSizeAt = 28;
constexpr std::size_t kPayloadAt = 32;

constexpr std::uint16_t kLastFlag = 1;
constexpr std::size_t kChecksumSize = sizeof(std::uint64_t);
constexpr std::size_t kDigits = 12;
constexpr std::string_view kPrefix = "checkpoint-";
constexpr std::string_view kSuffix = ".wbc";
constexpr std::string_view kUnfinishedSuffix = ".writing";

std::uint64_t seed_of(const CheckpointId& id, std::uint64_t position) {
  std::byte seed[24];
  store_little(seed, static_cast<std::uint64_t>(id.shard.value));
  store_little(seed + 8, id.number);
  store_little(seed + 16, position);
  return xxh3_64(seed);
}

std::string named(std::uint64_t number, std::string_view suffix) {
  const std::string digits = std::to_string(number);
  WB_ASSERT(digits.size() <= kDigits, "checkpoint numbers have twelve digits");
  std::string name(kPrefix);
  name.append(kDigits - digits.size(), '0');
  name += digits;
  return name += suffix;
}

}  // namespace

std::string checkpoint_name(std::uint64_t number) {
  return named(number, kSuffix);
}
std::string unfinished_checkpoint_name(std::uint64_t number) {
  return named(number, kUnfinishedSuffix);
}

std::optional<CheckpointName> parse_checkpoint_name(std::string_view name) {
  if (!name.starts_with(kPrefix) || name.size() < kPrefix.size() + kDigits) return std::nullopt;
  CheckpointName parsed;
  const std::string_view digits = name.substr(kPrefix.size(), kDigits);
  std::from_chars(digits.data(), digits.data() + digits.size(), parsed.number);
  parsed.finished = name.ends_with(kSuffix);
  const std::string_view suffix = parsed.finished ? kSuffix : kUnfinishedSuffix;
  if (parsed.number == 0 || named(parsed.number, suffix) != name) return std::nullopt;
  return parsed;
}

void seal_page(const CheckpointPage& header, const CheckpointId& id, std::uint64_t position,
               MutableBytes page) {
  WB_ASSERT(page.size() == header.page_size, "a page is as long as it says");
  std::byte* out = page.data();
  std::fill(out, out + kPageHeaderSize, std::byte{0});
  store_little(out + kMagicAt, kPageMagic);
  store_little(out + kVersionAt, header.version);
  store_little(out + kFlagsAt, header.last ? kLastFlag : std::uint16_t{0});
  store_little(out + kNumberAt, id.number);
  store_little(out + kShardAt, static_cast<std::uint32_t>(id.shard.value));
  store_little(out + kSizeAt, header.page_size);
  store_little(out + kPayloadAt, header.payload_size);
  store_little(out + kChecksumAt, xxh3_64(page.subspan(kChecksumSize), seed_of(id, position)));
}

std::optional<CheckpointPage> peek_page(Bytes bytes, const CheckpointId& id, std::uint64_t room) {
  if (bytes.size() < kPageHeaderSize) return std::nullopt;  // P1
  const std::byte* data = bytes.data();
  if (load_little<std::uint32_t>(data + kMagicAt) != kPageMagic) return std::nullopt;  // P2
  if (load_little<std::uint64_t>(data + kNumberAt) != id.number ||                     // P3
      load_little<std::uint32_t>(data + kShardAt) != id.shard.value)
    return std::nullopt;
  CheckpointPage header;
  header.version = load_little<std::uint16_t>(data + kVersionAt);
  header.last = load_little<std::uint16_t>(data + kFlagsAt) == kLastFlag;
  header.page_size = load_little<std::uint32_t>(data + kSizeAt);
  header.payload_size = load_little<std::uint32_t>(data + kPayloadAt);
  if (header.page_size < limits::kBlock || header.page_size % limits::kBlock != 0 ||  // P4
      header.page_size > kCheckpointPage || header.page_size > room ||
      header.payload_size > header.page_size - kPageHeaderSize)
    return std::nullopt;
  return header;
}

bool page_intact(Bytes page, const CheckpointId& id, std::uint64_t position) {
  return load_little<std::uint64_t>(page.data() + kChecksumAt) ==
         xxh3_64(page.subspan(kChecksumSize), seed_of(id, position));
}

void encode_object_header(const ObjectHeader& header, std::byte* out) {
  store_little(out, header.kind);
  store_little(out + 2, header.version);
  store_little(out + 4, header.body_size);
  store_little(out + 8, header.id);
  store_little(out + 16, header.applied.value);
}

ObjectHeader decode_object_header(const std::byte* data) {
  return {.kind = load_little<std::uint16_t>(data),
          .version = load_little<std::uint16_t>(data + 2),
          .body_size = load_little<std::uint32_t>(data + 4),
          .id = load_little<std::uint64_t>(data + 8),
          .applied = EntrySeq{load_little<std::uint64_t>(data + 16)}};
}

void encode_summary(const CheckpointSummary& summary, std::byte* out) {
  store_little(out, summary.object_count);
  store_little(out + 8, summary.objects_size);
  store_little(out + 16, summary.max_applied.value);
  store_little(out + 24, summary.replay_from.value);
  store_little(out + 32, summary.journal_file);
  store_little(out + 40, summary.time.milliseconds);
}

CheckpointSummary decode_summary(const std::byte* data) {
  return {.object_count = load_little<std::uint64_t>(data),
          .objects_size = load_little<std::uint64_t>(data + 8),
          .max_applied = EntrySeq{load_little<std::uint64_t>(data + 16)},
          .replay_from = EntrySeq{load_little<std::uint64_t>(data + 24)},
          .journal_file = load_little<std::uint64_t>(data + 32),
          .time = WallTime{load_little<std::int64_t>(data + 40)}};
}

}  // namespace waybill
