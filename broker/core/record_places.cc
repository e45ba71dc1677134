#include "broker/core/record_places.h"

#include <cstddef>
#include <span>

namespace waybill {
namespace {

constexpr std::size_t kMaxPlaces = 512 * 1024;
constexpr std::size_t kMaxBatches = 32 * 1024;
/// Records of a batch at least: fewer are walked as quickly.
constexpr std::int64_t kMinRecords = 4 * PlacedRecords::kStride;

std::uint64_t mix(StreamId stream, Offset base) {
  std::uint64_t mixed = stream.value * 0xD6E8FEB86659FD93 ^ static_cast<std::uint64_t>(base.value);
  return mixed == NumberTable<std::uint32_t>::kNoKey ? 1 : mixed;
}

}  // namespace

const RecordPlaces::Known* RecordPlaces::look_up(StreamId stream, Offset base) const {
  const std::uint32_t* index = by_batch_.find(mix(stream, base));
  // Two batches may have one name: then the later is known.
  if (index == nullptr || known_[*index].stream != stream || known_[*index].batch.base != base) {
    return nullptr;
  }
  return &known_[*index];
}

std::optional<PlacedRecords> RecordPlaces::find(StreamId stream, const Stretch& stretch) {
  if (stretch.end - stretch.base < kMinRecords) return std::nullopt;
  const Known* known = look_up(stream, stretch.base);
  if (known == nullptr) {
    if (known_.size() >= kMaxBatches || places_.size() >= kMaxPlaces) *this = {};
    const auto first = static_cast<std::uint32_t>(places_.size());
    const std::optional<PlacedRecords> placed = place_records(stretch.batch, places_);
    if (!placed) return std::nullopt;
    const auto added = static_cast<std::uint32_t>(known_.size());
    *by_batch_.try_emplace(mix(stream, stretch.base), added).first = added;
    known = &known_.emplace_back(Known{stream, *placed, first});
  }
  PlacedRecords placed = known->batch;
  placed.records = stretch.batch.last(placed.records.size());
  const std::size_t count = (placed.count + PlacedRecords::kStride - 1) / PlacedRecords::kStride;
  placed.places = std::span(places_).subspan(known->first_place, count);
  return placed;
}

void RecordPlaces::fetch_ahead(StreamId stream, const Stretch& stretch, Offset record) const {
  const Known* known = look_up(stream, stretch.base);
  if (known == nullptr) return;
  const auto index = static_cast<std::uint32_t>(record - stretch.base);
  const std::uint32_t place = places_[known->first_place + index / PlacedRecords::kStride];
  const std::byte* at = stretch.batch.data() + stretch.batch.size() - known->batch.records.size();
  __builtin_prefetch(at + place);
  __builtin_prefetch(at + place + 64);
}

}  // namespace waybill
