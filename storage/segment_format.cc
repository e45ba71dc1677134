#include "storage/segment_format.h"

#include <algorithm>
#include <charconv>

#include "protocol/base/checksum.h"
#include "protocol/record/batch_view.h"

namespace waybill {
namespace {

// Positions within the headers of blocks and footers; both begin alike.
constexpr std::size_t kChecksumAt = 0;
constexpr std::size_t kMagicAt = 8;
constexpr std::size_t kVersionAt = 12;
constexpr std::size_t kFactsAt = 14;
constexpr std::size_t kStreamAt = 16;
constexpr std::size_t kBaseAt = 24;
constexpr std::size_t kEndAt = 32;
constexpr std::size_t kMaxTimeAt = 40;
constexpr std::size_t kSizeAt = 48;
// Block.
constexpr std::size_t kPayloadAt = 52;
constexpr std::size_t kBatchesAt = 56;
constexpr std::size_t kRecordsAt = 60;
static_assert(kRecordsAt + sizeof(std::uint32_t) == kBlockHeaderSize);
// Footer.
constexpr std::size_t kEntriesAt = 52;
constexpr std::size_t kAllRecordsAt = 56;
static_assert(kAllRecordsAt + sizeof(std::uint64_t) == kFooterHeaderSize);

constexpr std::size_t kChecksumSize = sizeof(std::uint64_t);
constexpr std::size_t kBaseDigits = 20;
constexpr std::string_view kSuffix = ".wbs";

std::uint64_t seed_of(const SegmentId& id, std::uint64_t position) {
  std::byte seed[32];
  store_little(seed, id.stream.value);
  store_little(seed + 8, id.base.value);
  store_little(seed + 16, id.generation);
  store_little(seed + 24, position);
  return xxh3_64(seed);
}

bool checksum_right(Bytes bytes, const SegmentId& id, std::uint64_t position) {
  return load_little<std::uint64_t>(bytes.data() + kChecksumAt) ==
         xxh3_64(bytes.subspan(kChecksumSize), seed_of(id, position));
}

/// Whether an index can be what a writer wrote: a reader goes where it says.
bool plausible(const SegmentFooter& footer, const SegmentId& id, std::uint64_t position) {
  const std::vector<SegmentIndexEntry>& index = footer.index;
  if (footer.stream != id.stream || footer.base != id.base || footer.end <= footer.base ||
      index.empty() || index.front().position != 0 || index.front().base != footer.base)
    return false;
  for (std::size_t i = 1; i < index.size(); ++i) {
    if (index[i].position <= index[i - 1].position || index[i].base <= index[i - 1].base ||
        index[i].max_before < index[i - 1].max_before)
      return false;
  }
  return std::ranges::all_of(index, [&](const SegmentIndexEntry& entry) {
    return entry.position % limits::kBlock == 0 && entry.position < position &&
           entry.base < footer.end;
  });
}

template <class Number>
bool parse_all(std::string_view text, Number& number) {
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  return problem == std::errc{} && end == text.data() + text.size();
}

}  // namespace

std::string segment_name(const SegmentId& id) {
  WB_ASSERT(id.base.value >= 0, "offsets begin at 0");
  const std::string base = std::to_string(id.base.value);
  std::string name(kBaseDigits - base.size(), '0');
  name += base + "-" + std::to_string(id.generation);
  return name += kSuffix;
}

std::optional<SegmentId> parse_segment_name(StreamId stream, std::string_view name) {
  if (!name.ends_with(kSuffix) || name.size() < kBaseDigits + kSuffix.size() + 2)
    return std::nullopt;
  SegmentId id{.stream = stream, .base = {}, .generation = 0};
  const std::string_view rest = name.substr(0, name.size() - kSuffix.size());
  if (!parse_all(rest.substr(0, kBaseDigits), id.base.value) || id.base.value < 0 ||
      !parse_all(rest.substr(kBaseDigits + 1), id.generation) || segment_name(id) != name)
    return std::nullopt;
  return id;
}

std::string stream_directory_name(StreamId stream) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string name(16, '0');
  std::uint64_t rest = stream.value;
  for (std::size_t i = name.size(); i-- > 0; rest >>= 4) name[i] = kDigits[rest & 15];
  return name;
}

std::optional<StreamId> parse_stream_directory(std::string_view name) {
  StreamId stream;
  auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), stream.value, 16);
  if (problem != std::errc{} || stream_directory_name(stream) != name) return std::nullopt;
  return stream;
}

void seal_block(const SegmentBlock& header, const SegmentId& id, std::uint64_t position,
                MutableBytes block) {
  WB_ASSERT(block.size() == header.block_size, "a block is as long as it says");
  std::byte* out = block.data();
  store_little(out + kMagicAt, kBlockMagic);
  store_little(out + kVersionAt, header.version);
  store_little(out + kFactsAt, header.facts);
  store_little(out + kStreamAt, header.stream.value);
  store_little(out + kBaseAt, header.base.value);
  store_little(out + kEndAt, header.end.value);
  store_little(out + kMaxTimeAt, header.max_timestamp.milliseconds);
  store_little(out + kSizeAt, header.block_size);
  store_little(out + kPayloadAt, header.payload_size);
  store_little(out + kBatchesAt, header.batch_count);
  store_little(out + kRecordsAt, header.record_count);
  store_little(out + kChecksumAt, xxh3_64(block.subspan(kChecksumSize), seed_of(id, position)));
}

std::optional<SegmentBlock> peek_block(Bytes bytes, const SegmentId& id, std::uint64_t room) {
  if (bytes.size() < kBlockHeaderSize) return std::nullopt;  // B1
  const std::byte* data = bytes.data();
  if (load_little<std::uint32_t>(data + kMagicAt) != kBlockMagic) return std::nullopt;  // B2
  SegmentBlock header;
  header.version = load_little<std::uint16_t>(data + kVersionAt);
  header.facts = load_little<SegmentFacts>(data + kFactsAt);
  header.stream.value = load_little<std::uint64_t>(data + kStreamAt);
  header.base.value = load_little<std::int64_t>(data + kBaseAt);
  header.end.value = load_little<std::int64_t>(data + kEndAt);
  header.max_timestamp.milliseconds = load_little<std::int64_t>(data + kMaxTimeAt);
  header.block_size = load_little<std::uint32_t>(data + kSizeAt);
  header.payload_size = load_little<std::uint32_t>(data + kPayloadAt);
  header.batch_count = load_little<std::uint32_t>(data + kBatchesAt);
  header.record_count = load_little<std::uint32_t>(data + kRecordsAt);
  if (header.stream != id.stream) return std::nullopt;                                  // B3
  if (header.block_size < limits::kBlock || header.block_size % limits::kBlock != 0 ||  // B4
      header.block_size > kMaxSegmentBlock || header.block_size > room ||
      header.payload_size > header.block_size - kBlockHeaderSize)
    return std::nullopt;
  return header;
}

bool block_intact(Bytes block, const SegmentId& id, std::uint64_t position) {
  return checksum_right(block, id, position);
}

Result<std::vector<Bytes>> block_batches(const SegmentBlock& header, Bytes block) {
  std::vector<Bytes> batches;
  std::uint64_t records = 0;
  Offset end = header.base;
  BatchSequence sequence(block.subspan(kBlockHeaderSize, header.payload_size));
  while (!sequence.done()) {
    Result<Bytes> batch = sequence.next();
    if (!batch) return {Errc::kDamaged, "segment block: batch"};
    Result<BatchHeader> facts = parse_batch_header(*batch);
    if (!facts || facts->base_offset < end) return {Errc::kDamaged, "segment block: offsets"};
    end = facts->last_offset() + 1;
    records += facts->record_count;
    batches.push_back(*batch);
  }
  if (batches.size() != header.batch_count || records != header.record_count || end > header.end)
    return {Errc::kDamaged, "segment block: counts"};
  return batches;
}

void encode_footer(const SegmentFooter& footer, const SegmentId& id, std::uint64_t position,
                   MutableBytes out) {
  WB_ASSERT(out.size() == footer_size(footer.index.size()), "a footer is as long as it says");
  std::ranges::fill(out, std::byte{0});
  std::byte* data = out.data();
  store_little(data + kMagicAt, kFooterMagic);
  store_little(data + kVersionAt, footer.version);
  store_little(data + kFactsAt, footer.facts);
  store_little(data + kStreamAt, footer.stream.value);
  store_little(data + kBaseAt, footer.base.value);
  store_little(data + kEndAt, footer.end.value);
  store_little(data + kMaxTimeAt, footer.max_timestamp.milliseconds);
  store_little(data + kSizeAt, static_cast<std::uint32_t>(out.size()));
  store_little(data + kEntriesAt, static_cast<std::uint32_t>(footer.index.size()));
  store_little(data + kAllRecordsAt, footer.record_count);
  std::byte* entry = data + kFooterHeaderSize;
  for (const SegmentIndexEntry& one : footer.index) {
    store_little(entry, one.base.value);
    store_little(entry + 8, one.max_before.milliseconds);
    store_little(entry + 16, one.position);
    entry += kFooterEntrySize;
  }
  std::byte* trailer = data + out.size() - kFooterTrailerSize;
  store_little(trailer, position);
  store_little(trailer + 8, kSealMagic);
  store_little(data + kChecksumAt, xxh3_64(out.subspan(kChecksumSize), seed_of(id, position)));
}

std::optional<std::uint64_t> footer_position(Bytes last_block, std::uint64_t file_size) {
  if (last_block.size() != limits::kBlock) return std::nullopt;
  const std::byte* trailer = last_block.data() + limits::kBlock - kFooterTrailerSize;
  if (load_little<std::uint64_t>(trailer + 8) != kSealMagic) return std::nullopt;
  const auto position = load_little<std::uint64_t>(trailer);
  if (position % limits::kBlock != 0 || position >= file_size) return std::nullopt;
  return position;
}

Result<SegmentFooter> decode_footer(Bytes bytes, const SegmentId& id, std::uint64_t position) {
  if (bytes.size() < limits::kBlock) return {Errc::kShortData, "segment footer"};
  const std::byte* data = bytes.data();
  if (load_little<std::uint32_t>(data + kMagicAt) != kFooterMagic)
    return {Errc::kBadFormat, "segment footer: magic"};
  if (load_little<std::uint32_t>(data + kSizeAt) != bytes.size())
    return {Errc::kBadFormat, "segment footer: size"};
  if (!checksum_right(bytes, id, position)) return {Errc::kChecksum, "segment footer: checksum"};
  SegmentFooter footer;
  footer.version = load_little<std::uint16_t>(data + kVersionAt);
  if (footer.version != kSegmentVersion)
    return {Errc::kUnsupportedFormat, "segment footer: version"};
  footer.facts = load_little<SegmentFacts>(data + kFactsAt);
  footer.stream.value = load_little<std::uint64_t>(data + kStreamAt);
  footer.base.value = load_little<std::int64_t>(data + kBaseAt);
  footer.end.value = load_little<std::int64_t>(data + kEndAt);
  footer.max_timestamp.milliseconds = load_little<std::int64_t>(data + kMaxTimeAt);
  footer.record_count = load_little<std::uint64_t>(data + kAllRecordsAt);
  const auto entries = load_little<std::uint32_t>(data + kEntriesAt);
  if (footer_size(entries) != bytes.size()) return {Errc::kBadFormat, "segment footer: entries"};
  const std::byte* entry = data + kFooterHeaderSize;
  for (std::uint32_t i = 0; i < entries; ++i, entry += kFooterEntrySize) {
    footer.index.push_back({.base = Offset{load_little<std::int64_t>(entry)},
                            .max_before = WallTime{load_little<std::int64_t>(entry + 8)},
                            .position = load_little<std::uint64_t>(entry + 16)});
  }
  if (!plausible(footer, id, position)) return {Errc::kBadFormat, "segment footer: index"};
  return footer;
}

}  // namespace waybill
