// The examples of FORMAT.md and the golden files, as bytes and numbers.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "protocol/base/bytes.h"
#include "protocol/base/limits.h"

namespace waybill {

inline std::string read_text(const std::string& path) {
  std::ifstream in(std::string(WAYBILL_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(in.good()) << path;
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

/// "0010: 57 42 …" lines into one block; what is missing is zero.
inline ByteVector parse_hex(const std::string& text) {
  ByteVector block(limits::kBlock, std::byte{0});
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::size_t position = std::stoul(line, nullptr, 16);
    std::istringstream bytes(line.substr(line.find(':') + 1));
    for (unsigned value = 0; bytes >> std::hex >> value;)
      block.at(position++) = static_cast<std::byte>(value);
  }
  return block;
}

/// FORMAT.md from the heading "## <name>" to the next one of its kind.
inline std::string page_section(const std::string& name) {
  const std::string page = read_text("storage/FORMAT.md");
  const std::size_t begin = page.find("## " + name + "\n");
  EXPECT_NE(begin, std::string::npos) << name;
  return page.substr(begin, page.find("\n## ", begin) - begin);
}

/// The text of the n-th ```hex block of a section.
inline std::string hex_block(const std::string& section, int number) {
  std::size_t begin = 0;
  for (int i = 0; i <= number; ++i) begin = section.find("```hex\n", begin) + 7;
  return section.substr(begin, section.find("```", begin) - begin);
}

/// The rows "| name.field | value |" of a section.
inline std::map<std::string, std::uint64_t> example_table(const std::string& section) {
  std::map<std::string, std::uint64_t> fields;
  std::istringstream lines(section);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t middle = line.find(" | ");
    if (!line.starts_with("| ") || middle == std::string::npos) continue;
    const std::string name = line.substr(2, middle - 2);
    if (name.find('.') == std::string::npos || name.find(' ') != std::string::npos) continue;
    fields[name] = std::stoull(line.substr(middle + 3), nullptr, 0);
  }
  return fields;
}

}  // namespace waybill
