#include "tools/credentials.h"

#include <fmt/format.h>

#include <fstream>

#include "protocol/base/limits.h"
#include "tools/escape.h"

namespace waybill::cli {

Checked<Credentials> find_credentials(std::string user, const std::string& token_file,
                                      std::string token) {
  if (!token_file.empty()) {
    std::ifstream file(token_file);
    // One more than allowed, so that a longer line is seen and no other file read whole.
    token.resize(limits::kMaxToken + 2);
    file.read(token.data(), static_cast<std::streamsize>(token.size()));
    token.resize(static_cast<std::size_t>(file.gcount()));
    token.resize(token.find_last_not_of(" \t\r\n", token.find('\n')) + 1);
    if (token.empty()) {
      return Problem{fmt::format("there is no token in --token-file {}", escaped_line(token_file))};
    }
  }
  if (token.size() > limits::kMaxToken) {
    return Problem{fmt::format("a token has at most {} characters", limits::kMaxToken)};
  }
  return Credentials{std::move(user), std::move(token)};
}

}  // namespace waybill::cli
