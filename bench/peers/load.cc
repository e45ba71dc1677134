#include "bench/peers/load.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

namespace waybill::peers {
namespace {

constexpr std::uint32_t kSmallestValue = sizeof(std::int64_t);

[[noreturn]] void refuse(std::string_view what, std::string_view word) {
  std::fprintf(stderr, "%.*s: '%.*s'\n", static_cast<int>(what.size()), what.data(),
               static_cast<int>(word.size()), word.data());
  std::fprintf(stderr,
               "usage: DRIVER publish|e2e HOST:PORT [--size N] [--publishers N] [--in-flight N]\n"
               "              [--rate R] [--duration-ms N] [--warm-up-ms N] [--queue-type TYPE]\n"
               "              [--result FILE]\n");
  std::exit(2);
}

template <class Number>
Number number(std::string_view text, Number least, Number most) {
  Number value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < least || value > most) {
    refuse("not a number in range", text);
  }
  return value;
}

std::chrono::milliseconds milliseconds(std::string_view text) {
  return std::chrono::milliseconds(number<std::int64_t>(text, 0, 3'600'000));
}

void set(Load& load, std::string_view name, std::string_view value) {
  if (name == "--size") {
    load.size = number<std::uint32_t>(value, kSmallestValue, 100'000);
  } else if (name == "--publishers") {
    load.publishers = number<std::uint32_t>(value, 1, 1000);
  } else if (name == "--in-flight") {
    load.in_flight = number<std::uint32_t>(value, 1, 100'000);
  } else if (name == "--rate") {
    load.rate = number<double>(value, 0, 1e7);
  } else if (name == "--duration-ms") {
    load.duration = milliseconds(value);
  } else if (name == "--warm-up-ms") {
    load.warm_up = milliseconds(value);
  } else if (name == "--queue-type" && (value == "quorum" || value == "stream")) {
    load.stream = value == "stream";
  } else if (name == "--result") {
    load.result_file = value;
  } else {
    refuse("unknown option or value", name);
  }
}

}  // namespace

Load parse_load(int argc, char** argv) {
  if (argc < 3 || argc % 2 == 0) refuse("a scenario, a server and pairs of options are needed", "");
  Load load;
  std::string_view scenario = argv[1];
  if (scenario != "publish" && scenario != "e2e") refuse("unknown scenario", scenario);
  load.consumes = scenario == "e2e";
  std::string_view server = argv[2];
  std::size_t colon = server.rfind(':');
  if (colon == std::string_view::npos) refuse("no port in", server);
  load.host = server.substr(0, colon);
  load.port = number<int>(server.substr(colon + 1), 1, 65535);
  for (int i = 3; i + 1 < argc; i += 2) set(load, argv[i], argv[i + 1]);
  return load;
}

Value::Value(std::uint32_t size) : bytes_(std::max(size, kSmallestValue), '\0') {
  std::minstd_rand random(size);
  for (char& byte : bytes_) byte = static_cast<char>(random() >> 8);
}

std::string_view Value::due_at(Time due) {
  std::int64_t ticks = due.time_since_epoch().count();
  std::memcpy(bytes_.data(), &ticks, sizeof ticks);
  return bytes_;
}

Time due_of(std::string_view value) {
  std::int64_t ticks = 0;
  if (value.size() < sizeof ticks) return {};
  std::memcpy(&ticks, value.data(), sizeof ticks);
  return Time(Clock::duration(ticks));
}

}  // namespace waybill::peers
