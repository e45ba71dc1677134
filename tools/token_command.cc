// `waybill token`: what a broker's users prove themselves with.
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "protocol/model/catalog.h"
#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/escape.h"
#include "tools/json_output.h"

namespace waybill::cli {
namespace {

using Bits = std::array<unsigned char, 32>;

std::string hex(const Bits& bits) {
  std::string text;
  for (unsigned char byte : bits) text += fmt::format("{:02x}", byte);
  return text;
}

/// "anna 9af1… view fix"
std::string users_line(const TokenNew& command, std::string_view token) {
  Bits hash{};
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
  std::string line = command.user + " " + hex(hash);
  for (const Grant& right : command.rights) line += " " + to_string(right);
  return line;
}

/// A new file that only its owner may read; the errno, or 0.
int write_secret(const std::string& path, const std::string& token) {
  int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return errno;
  std::string line = token + "\n";
  errno = EIO;
  bool written = ::write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  int failure = written ? 0 : errno;
  if (::close(file) != 0 && failure == 0) failure = errno;
  return failure;
}

}  // namespace

ExitCode run(const TokenNew& command, BrokerSession& session) {
  Console& console = session.console();
  Reply<void> named = validate_name("user", command.user);
  if (!named) return session.usage(escaped_line(named.error().explanation));
  Bits secret{};
  if (RAND_bytes(secret.data(), static_cast<int>(secret.size())) != 1) {
    console.complain("the system gives no random numbers");
    return ExitCode::kFailed;
  }
  const std::string token = hex(secret);
  const std::string line = users_line(command, token);
  if (!command.file.empty()) {
    if (int failure = write_secret(command.file, token); failure != 0) {
      console.complain(fmt::format("cannot write the token to {}: {}", escaped_line(command.file),
                                   std::strerror(failure)));
      return ExitCode::kFailed;
    }
    console.print_one(line + "\n", token_json(command.user, {}, line));
    console.say("this is the line for the broker's users file (waybilld --users FILE)");
    return ExitCode::kOk;
  }
  console.print_one(fmt::format("token, shown this once\n  {}\n"
                                "line for the broker's users file (waybilld --users FILE)\n  {}\n",
                                token, line),
                    token_json(command.user, token, line));
  return ExitCode::kOk;
}

}  // namespace waybill::cli
