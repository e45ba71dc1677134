// Reads Prometheus' text format as strictly as Prometheus does, for tests: every sample follows a
// HELP and a TYPE of its family, names and labels are well formed, nothing stands twice.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <regex>
#include <sstream>
#include <string>

namespace waybill {

/// Family name -> "counter" or "gauge".
inline std::map<std::string, std::string> metric_types(const std::string& text) {
  static const std::regex pattern("# TYPE ([a-zA-Z_][a-zA-Z0-9_]*) (counter|gauge)");
  std::map<std::string, std::string> types;
  std::istringstream lines(text);
  std::string line;
  std::smatch match;
  while (std::getline(lines, line)) {
    if (!std::regex_match(line, match, pattern)) continue;
    EXPECT_TRUE(types.emplace(match[1], match[2]).second) << "twice: " << line;
  }
  return types;
}

/// `name{labels}` -> value. Fails the test on anything malformed.
inline std::map<std::string, double> parse_metrics(const std::string& text) {
  static const std::regex help("# HELP ([a-zA-Z_][a-zA-Z0-9_]*) .+");
  static const std::regex sample(
      "([a-zA-Z_][a-zA-Z0-9_]*)(\\{[a-z_]+=\"[^\"\\\\]*\"(?:,[a-z_]+=\"[^\"\\\\]*\")*\\})? "
      "([0-9.eE+-]+)");
  std::map<std::string, double> samples;
  std::map<std::string, std::string> types = metric_types(text);
  std::istringstream lines(text);
  std::string line;
  std::string family;
  std::smatch match;
  EXPECT_TRUE(text.ends_with("\n"));
  while (std::getline(lines, line)) {
    if (line.starts_with("# TYPE ")) continue;
    if (std::regex_match(line, match, help)) {
      family = match[1];
    } else if (std::regex_match(line, match, sample)) {
      EXPECT_EQ(match[1], family) << line;
      EXPECT_TRUE(types.contains(match[1])) << line;
      double value = std::stod(match[3].str());
      EXPECT_TRUE(samples.emplace(match[1].str() + match[2].str(), value).second) << line;
    } else {
      ADD_FAILURE() << "not a line of the text format: " << line;
    }
  }
  return samples;
}

}  // namespace waybill
