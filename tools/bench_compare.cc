// `waybill bench compare`: two results as ratios, and what else differs between them.
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <boost/json.hpp>
#include <fstream>

#include "tools/bench.h"
#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/escape.h"
#include "tools/text_table.h"

namespace waybill::cli {
namespace {

namespace json = boost::json;

constexpr std::array kCompared{
    "outbox.per_second",           "outbox.latency.p50_us",    "outbox.latency.p99_us",
    "outbox.latency.p99.99_us",    "outbox.latency.max_us",    "published.per_second",
    "published.latency.p50_us",    "published.latency.p99_us", "published.latency.p99.9_us",
    "published.latency.p99.99_us", "published.latency.max_us", "consumed.per_second",
    "consumed.latency.p50_us",     "consumed.latency.p99_us",  "consumed.latency.p99.9_us",
    "consumed.latency.p99.99_us",  "consumed.latency.max_us",  "client_cpu_s_per_million",
    "broker_cpu_s_per_million"};

/// The number at a path, as "published.latency.p50_us".
std::optional<double> number_at(const json::object& object, std::string path) {
  const json::object* at = &object;
  for (;;) {
    // Names may hold dots themselves (p99.9_us): the longest that is there wins.
    if (const json::value* last = at->if_contains(path)) {
      if (last->is_number()) return last->to_number<double>();
      return std::nullopt;
    }
    std::size_t dot = path.find('.');
    if (dot == std::string::npos) return std::nullopt;
    const json::value* inner = at->if_contains(path.substr(0, dot));
    if (inner == nullptr || !inner->is_object()) return std::nullopt;
    at = &inner->get_object();
    path = path.substr(dot + 1);
  }
}

/// Older results have it for the whole run only.
void add_cpu_per_million(json::object& result, const std::string& field) {
  std::optional<double> seconds = number_at(result, field);
  std::optional<double> messages = number_at(result, "checked.confirmed");
  std::string wanted = field + "_per_million";
  if (result.contains(wanted) || !seconds || !messages || *messages == 0) return;
  result[wanted] = *seconds * 1e6 / *messages;
}

/// The members of a result's part; none if it has no such part.
const json::object& part_of(const json::object& result, std::string_view part) {
  static const json::object nothing;
  const json::value* found = result.if_contains(part);
  return found != nullptr && found->is_object() ? found->get_object() : nothing;
}

Checked<json::object> read_result(const std::string& file) {
  std::ifstream in(file);
  std::string text;
  std::getline(in, text, '\0');
  if (!in.is_open() || in.bad()) {
    return Problem{fmt::format("'{}' cannot be read", escaped_line(file))};
  }
  boost::system::error_code error;
  json::value value = json::parse(text, error);
  json::object* object = error ? nullptr : value.if_object();
  bool is_result = object != nullptr && part_of(*object, "parameters").contains("scenario") &&
                   number_at(*object, "published.per_second").has_value();
  if (!is_result) {
    return Problem{
        fmt::format("'{}' is no result of 'waybill bench --result'", escaped_line(file))};
  }
  add_cpu_per_million(*object, "client_cpu_s");
  add_cpu_per_million(*object, "broker_cpu_s");
  return std::move(*object);
}

ExitCode refuse_result(const Problem& problem, const std::string& file, BrokerSession& session) {
  ExitCode code = session.usage(problem.text);
  return ::access(file.c_str(), F_OK) == 0 ? code : ExitCode::kNotFound;
}

/// What one of two results says otherwise, or only one of them says.
void say_differences(const json::object& before, const json::object& after, std::string_view part,
                     std::string_view what, Console& console) {
  const json::object& a = part_of(before, part);
  const json::object& b = part_of(after, part);
  auto say = [&](json::string_view key, const json::value& one, const json::value& other) {
    console.say(fmt::format("not the same {}: {} is {} and {}", what, std::string(key),
                            json::serialize(one), json::serialize(other)));
  };
  for (const auto& [key, value] : a) {
    const json::value* other = b.if_contains(key);
    json::value there = other != nullptr ? *other : json::value("absent");
    if (there != value) say(key, value, there);
  }
  for (const auto& [key, value] : b) {
    if (!a.contains(key)) say(key, json::value("absent"), value);
  }
}

/// The parts of the environment that figures depend on.
json::object machine_of(const json::object& result) {
  json::object machine = part_of(result, "environment");
  machine.erase("broker");  // its address
  const json::object& device = part_of(result, "device");
  for (const char* field : {"file_system", "engine"}) {
    if (const json::value* value = device.if_contains(field)) {
      machine["device_" + std::string(field)] = *value;
    }
  }
  return {{"environment", std::move(machine)}};
}

}  // namespace

ExitCode run(const BenchCompare& command, BrokerSession& session) {
  Checked<json::object> before = read_result(command.before);
  if (!before) return refuse_result(before.error(), command.before, session);
  Checked<json::object> after = read_result(command.after);
  if (!after) return refuse_result(after.error(), command.after, session);
  Console& console = session.console();
  say_differences(*before, *after, "parameters", "load", console);
  say_differences(machine_of(*before), machine_of(*after), "environment", "place", console);
  TextTable table({"figure", ">before", ">after", ">ratio"});
  json::object ratios;
  for (const char* path : kCompared) {
    std::optional<double> a = number_at(*before, path);
    std::optional<double> b = number_at(*after, path);
    if (!a || !b || *a == 0) continue;
    table.add({path, fmt::format("{:.2f}", *a), fmt::format("{:.2f}", *b),
               fmt::format("{:.2f}", *b / *a)});
    ratios[path] = *b / *a;
  }
  console.print_one(table.render(), json::serialize(ratios));
  return ExitCode::kOk;
}

}  // namespace waybill::cli
