// Trace: everything that happens in a simulated run, as one hash and, when asked, as lines. Two
// runs of one seed must end with the same hash; a failing one is run again with lines, and only
// those about the messages concerned are shown.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/clock.h"
#include "protocol/base/ids.h"

namespace waybill {

/// One message: its offset, and its partition, numbered through all topics of a run.
struct Place {
  std::uint32_t partition = 0;
  std::int64_t offset = 0;
  friend auto operator<=>(const Place&, const Place&) = default;
};
std::string to_string(Place place);

/// What of a run is written down as text.
struct TraceFilter {
  bool all = false;
  std::set<Place> places = {};  ///< lines about these, and about no message at all
};

class Trace {
 public:
  struct Field {
    std::string_view name;
    std::int64_t value;
  };

  Trace(const Clock& clock, TraceFilter filter)
      : clock_(clock), begin_(clock.monotonic()), filter_(std::move(filter)) {}

  /// About the run as a whole.
  void note(std::string_view what, std::initializer_list<Field> fields = {});
  /// About the messages from `place` on, `count` of them.
  void note(std::string_view what, Place place, std::int64_t count,
            std::initializer_list<Field> fields = {});
  /// Free text, where the filter wants it; not part of the hash.
  void remark(Place place, const std::string& text);

  [[nodiscard]] std::uint64_t hash() const { return hash_; }
  [[nodiscard]] std::uint64_t events() const { return events_; }
  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }
  [[nodiscard]] bool on() const { return filter_.all || !filter_.places.empty(); }

 private:
  void mix(std::uint64_t value);
  void mix(std::string_view what, std::initializer_list<Field> fields);
  [[nodiscard]] bool wants(Place place, std::int64_t count) const;
  [[nodiscard]] std::string head() const;

  const Clock& clock_;
  MonotonicTime begin_;
  TraceFilter filter_;
  std::uint64_t hash_ = 0xcbf29ce484222325;
  std::uint64_t events_ = 0;
  std::vector<std::string> lines_;
};

}  // namespace waybill
