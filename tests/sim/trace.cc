#include "tests/sim/trace.h"

#include <cstdio>

namespace waybill {
namespace {

std::string text_of(std::string_view what, std::initializer_list<Trace::Field> fields) {
  std::string text(what);
  for (const Trace::Field& field : fields) {
    text += " " + std::string(field.name) + "=" + std::to_string(field.value);
  }
  return text;
}

}  // namespace

std::string to_string(Place place) {
  return std::to_string(place.partition) + "/" + std::to_string(place.offset);
}

void Trace::mix(std::uint64_t value) {
  hash_ = (hash_ ^ value) * 0x100000001b3;
  hash_ ^= hash_ >> 29;
}

void Trace::mix(std::string_view what, std::initializer_list<Field> fields) {
  ++events_;
  mix(static_cast<std::uint64_t>(clock_.monotonic().nanoseconds));
  for (char c : what) mix(static_cast<std::uint64_t>(c));
  for (const Field& field : fields) mix(static_cast<std::uint64_t>(field.value));
}

bool Trace::wants(Place place, std::int64_t count) const {
  if (filter_.all) return true;
  auto first = filter_.places.lower_bound(place);
  return first != filter_.places.end() && first->partition == place.partition &&
         first->offset < place.offset + count;
}

std::string Trace::head() const {
  char text[32];
  double passed = static_cast<double>((clock_.monotonic() - begin_).count()) / 1e9;
  std::snprintf(text, sizeof text, "%12.6f s  ", passed);
  return text;
}

void Trace::note(std::string_view what, std::initializer_list<Field> fields) {
  mix(what, fields);
  if (on()) lines_.push_back(head() + text_of(what, fields));
}

void Trace::note(std::string_view what, Place place, std::int64_t count,
                 std::initializer_list<Field> fields) {
  mix(place.partition);
  mix(static_cast<std::uint64_t>(place.offset));
  mix(static_cast<std::uint64_t>(count));
  mix(what, fields);
  if (!on() || !wants(place, count)) return;
  std::string where = to_string(place);
  if (count > 1) where += ".." + std::to_string(place.offset + count - 1);
  lines_.push_back(head() + where + " " + text_of(what, fields));
}

void Trace::remark(Place place, const std::string& text) {
  if (on() && wants(place, 1)) lines_.push_back(head() + to_string(place) + " " + text);
}

}  // namespace waybill
