// The broker's log: one line per event on stderr, `key=value` pairs after a stable event name, so
// that a person can read it and grep can find it. Values that came from users are quoted and
// escaped. Never on the path of a single message.
//
//   2026-01-31T12:00:00.123Z info  broker.ready port=7450 shards=2
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

#include "broker/server/config.h"

namespace waybill {

struct LogField {
  std::string_view key;
  std::string value;

  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  LogField(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}
  template <std::integral Number>
  LogField(std::string_view k, Number v) : key(k), value(std::to_string(v)) {}
};
using LogFields = std::initializer_list<LogField>;

/// Call once before the first thread starts; without it the level is kWarning.
void set_log_level(LogLevel level);

void log_debug(std::string_view event, LogFields fields = {});
void log_info(std::string_view event, LogFields fields = {});
void log_warning(std::string_view event, LogFields fields = {});
void log_error(std::string_view event, LogFields fields = {});
/// The process is about to end; flushed before the call returns.
void log_critical(std::string_view event, LogFields fields = {});

/// "event key=value …" without time and level; what the functions above write.
std::string format_log_line(std::string_view event, LogFields fields);

}  // namespace waybill
