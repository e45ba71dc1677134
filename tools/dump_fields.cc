#include "tools/dump_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <iterator>

#include "tools/escape.h"
#include "tools/storage_report.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

namespace json = boost::json;

/// Of a list, unless all of it is asked for: a screen.
constexpr std::size_t kShownElements = 20;
constexpr std::size_t kShownTextColumns = 120;

template <class... Cases>
struct OneOf : Cases... {
  using Cases::operator()...;
};

std::string range_text(OffsetRange range) {
  return range.count() == 1 ? fmt::to_string(range.first.value)
                            : fmt::format("{}-{}", range.first.value, range.last.value);
}

std::string element_text(std::int64_t number) {
  return fmt::to_string(number);
}
std::string element_text(OffsetRange range) {
  return range_text(range);
}

std::string left_out_text(std::size_t left_out) {
  return fmt::format("… and {} more, with --records", left_out);
}

template <class Element>
std::string list_text(const std::vector<Element>& list, bool whole) {
  if (list.empty()) return "none";
  const std::size_t shown = whole ? list.size() : std::min(list.size(), kShownElements);
  std::string text;
  for (std::size_t i = 0; i < shown; ++i) text += (i == 0 ? "" : ", ") + element_text(list[i]);
  return shown < list.size() ? text + " " + left_out_text(list.size() - shown) : text;
}

bool has_fields(const DumpFields::Value& value) {
  return std::holds_alternative<DumpFields>(value) ||
         std::holds_alternative<std::vector<DumpFields>>(value);
}

/// Of a field that has none of its own.
std::string plain_text(const DumpFields::Value& value, bool whole) {
  return std::visit(
      OneOf{[](bool set) { return std::string(set ? "true" : "false"); },
            [](std::int64_t number) { return fmt::to_string(number); },
            [](std::uint64_t number) { return fmt::to_string(number); },
            [](double number) { return fmt::to_string(number); },
            [](const std::string& word) { return word; },
            [whole](const DumpFields::Text& text) {
              return "\"" +
                     (whole ? escaped_line(text.text) : shortened(text.text, kShownTextColumns)) +
                     "\"";
            },
            [](OffsetRange range) { return range_text(range); },
            [whole](const std::vector<std::int64_t>& list) { return list_text(list, whole); },
            [whole](const std::vector<OffsetRange>& list) { return list_text(list, whole); },
            [](const DumpFields&) { return std::string(); },
            [](const std::vector<DumpFields>&) { return std::string(); }},
      value);
}

std::string below_text(const DumpField& field, const std::string& margin, bool whole) {
  if (const auto* fields = std::get_if<DumpFields>(&field.value))
    return fmt::format("{}{}:\n", margin, field.name) + fields->to_text(margin + "  ", whole);
  const auto* list = std::get_if<std::vector<DumpFields>>(&field.value);
  if (list == nullptr) return {};
  std::string text = fmt::format("{}{}:{}\n", margin, field.name, list->empty() ? " none" : "");
  const std::size_t shown = whole ? list->size() : std::min(list->size(), kShownElements);
  for (std::size_t i = 0; i < shown; ++i) text += (*list)[i].to_text(margin + "  ", whole);
  if (shown < list->size()) text += margin + "  " + left_out_text(list->size() - shown) + "\n";
  return text;
}

json::value to_value(OffsetRange range) {
  return json::object{{"first", range.first.value}, {"last", range.last.value}};
}

json::object to_object(const DumpFields& fields);

json::value to_value(const DumpFields::Value& value) {
  return std::visit(
      OneOf{[](const auto& plain) { return json::value(plain); },
            [](const DumpFields::Text& text) {
              return json::value(is_utf8(text.text) ? text.text : escaped_text(text.text));
            },
            [](OffsetRange range) { return to_value(range); },
            [](const std::vector<std::int64_t>& list) {
              return json::value(json::array(list.begin(), list.end()));
            },
            [](const std::vector<OffsetRange>& list) {
              json::array all;
              for (const OffsetRange range : list) all.push_back(to_value(range));
              return json::value(std::move(all));
            },
            [](const DumpFields& below) { return json::value(to_object(below)); },
            [](const std::vector<DumpFields>& list) {
              json::array all;
              for (const DumpFields& one : list) all.push_back(to_object(one));
              return json::value(std::move(all));
            }},
      value);
}

json::object to_object(const DumpFields& fields) {
  json::object object;
  for (const DumpField& field : fields.all()) object[field.name] = to_value(field.value);
  return object;
}

}  // namespace

DumpFields& DumpFields::put(std::string_view name, Value value) {
  all_.push_back({name, std::move(value)});
  return *this;
}

DumpFields& DumpFields::add(std::string_view name, std::string_view word) {
  return put(name, std::string(word));
}

DumpFields& DumpFields::add(std::string_view name, std::uint32_t number) {
  return put(name, std::uint64_t{number});
}

DumpFields& DumpFields::add(std::string_view name, std::chrono::milliseconds duration) {
  return put(name, std::int64_t{duration.count()});
}

DumpFields& DumpFields::add(std::string_view name, Offset offset) {
  return put(name, offset.value);
}

DumpFields& DumpFields::add_text(std::string_view name, std::string text) {
  return put(name, Text{std::move(text)});
}

DumpFields& DumpFields::add(std::string_view name, WallTime time) {
  // What is no date of ours is shown as it is stored.
  constexpr std::int64_t kYear10000 = 253'402'300'800'000;
  const bool date = time.milliseconds >= 0 && time.milliseconds < kYear10000;
  return put(name, Value(date ? time_text(time) : fmt::format("{} ms", time.milliseconds)));
}

DumpFields& DumpFields::add(std::string_view name, LeaseToken token) {
  return put(name, Value(fmt::format("{}/{}", token.start, token.counter)));
}

DumpFields& DumpFields::add(std::string_view name, const Uuid& uuid) {
  return put(name, Value(to_string(uuid)));
}

DumpFields& DumpFields::add(std::string_view name, StreamId stream) {
  return put(name, Value(stream_text(stream)));
}

DumpFields& DumpFields::append(DumpFields other) {
  std::ranges::move(other.all_, std::back_inserter(all_));
  return *this;
}

std::string DumpFields::to_text(const std::string& margin, bool whole) const {
  std::string line;
  std::string below;
  for (const DumpField& field : all_) {
    if (has_fields(field.value)) {
      below += below_text(field, margin + "  ", whole);
    } else {
      line += fmt::format("{}{} {}", line.empty() ? "" : "  ", field.name,
                          plain_text(field.value, whole));
    }
  }
  return (line.empty() ? "" : margin + line + "\n") + below;
}

std::string DumpFields::to_json() const {
  return json::serialize(to_object(*this));
}

}  // namespace waybill::cli
