// DumpFields: what the body of an entry or an object says, field by field and in order, printed as
// text or as JSON. Whoever decodes a body fills one of these, so that both forms say the same.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "protocol/base/clock.h"
#include "protocol/base/ids.h"

namespace waybill::cli {

struct DumpField;

class DumpFields {
 public:
  /// Something a user wrote: shown in quotes, escaped, and in text shortened.
  struct Text {
    std::string text;
  };
  using Value = std::variant<bool, std::int64_t, std::uint64_t, double, std::string, Text,
                             OffsetRange, std::vector<std::int64_t>, std::vector<OffsetRange>,
                             DumpFields, std::vector<DumpFields>>;

  // `name` is a literal. Strings that are not Text are our own words.
  template <class Kind>
    requires requires(const Value* value) { std::get_if<Kind>(value); }
  DumpFields& add(std::string_view name, Kind value);
  DumpFields& add(std::string_view name, std::string_view word);
  DumpFields& add(std::string_view name, std::uint32_t number);
  DumpFields& add(std::string_view name, std::chrono::milliseconds duration);
  DumpFields& add(std::string_view name, Offset offset);
  DumpFields& add(std::string_view name, WallTime time);
  DumpFields& add(std::string_view name, LeaseToken token);
  DumpFields& add(std::string_view name, const Uuid& uuid);
  DumpFields& add(std::string_view name, StreamId stream);
  DumpFields& add_text(std::string_view name, std::string text);

  /// Lines that begin with `margin`: plain fields on one, what has fields of its own below it. Long
  /// lists are cut unless `whole`.
  [[nodiscard]] std::string to_text(const std::string& margin, bool whole) const;
  /// An object, whole, with the names as they are.
  [[nodiscard]] std::string to_json() const;

  /// Those of another one behind these.
  DumpFields& append(DumpFields other);
  [[nodiscard]] const std::vector<DumpField>& all() const { return all_; }

 private:
  DumpFields& put(std::string_view name, Value value);

  std::vector<DumpField> all_;
};

struct DumpField {
  std::string_view name;
  DumpFields::Value value;
};

template <class Kind>
  requires requires(const DumpFields::Value* value) { std::get_if<Kind>(value); }
DumpFields& DumpFields::add(std::string_view name, Kind value) {
  return put(name, Value(std::move(value)));
}

}  // namespace waybill::cli
