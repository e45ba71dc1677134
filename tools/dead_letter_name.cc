#include "tools/dead_letter_name.h"

#include <fmt/format.h>

#include <charconv>

#include "tools/escape.h"

namespace waybill::cli {
namespace {

template <class Number>
bool parse_whole(std::string_view text, Number& number, int base = 10) {
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return !text.empty() && parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

}  // namespace

std::string dead_letter_name(std::string_view group, const DeadLetterId& id) {
  return fmt::format("{}/{}-{}", group, id.partition.value, id.number);
}

std::string_view group_of_dead_letter_name(std::string_view text) {
  std::size_t slash = text.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : text.substr(0, slash);
}

Checked<DeadLetterId> parse_dead_letter_name(std::string_view text, std::string_view group,
                                             GroupId group_id) {
  std::string_view named = group_of_dead_letter_name(text);
  if (!named.empty() && named != group) {
    return Problem{fmt::format("'{}' is a dead letter of another group than '{}'",
                               escaped_line(text), escaped_line(group))};
  }
  std::string_view rest = text.substr(text.rfind('/') + 1);
  std::size_t dash = rest.find('-');
  DeadLetterId id{group_id, {}, 0};
  if (dash == std::string_view::npos || !parse_whole(rest.substr(0, dash), id.partition.value) ||
      !parse_whole(rest.substr(dash + 1), id.number)) {
    return Problem{
        fmt::format("'{}' is not the id of a dead letter: write {}/<partition>-<number>, "
                    "as 'waybill dlq list {}' shows them",
                    escaped_line(text), group, group)};
  }
  return id;
}

std::string fingerprint_text(std::uint64_t fingerprint) {
  return fmt::format("{:016x}", fingerprint);
}

Checked<std::uint64_t> parse_fingerprint(std::string_view text) {
  std::uint64_t fingerprint = 0;
  if (text.size() != 16 || !parse_whole(text, fingerprint, 16)) {
    return Problem{
        fmt::format("'{}' is not a fingerprint: they have sixteen hexadecimal digits, as "
                    "'waybill dlq list' shows them",
                    escaped_line(text))};
  }
  return fingerprint;
}

}  // namespace waybill::cli
